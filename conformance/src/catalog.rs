//! All cases, found by id and selected by pattern.

use crate::case::Case;
pub use crate::cases::all;

/// The case with this id.
pub fn by_id(id: &str) -> Option<&'static Case> {
    all().find(|case| case.id == id)
}

/// Whether an id is selected by a pattern: the id itself, a prefix that ends at a `/` (`rtc` selects `rtc/...`), or a
/// glob in which `*` stands for any run of characters, `/` included, and `?` for one.
pub fn matches(pattern: &str, id: &str) -> bool {
    if pattern.contains(['*', '?']) {
        return glob(pattern.as_bytes(), id.as_bytes());
    }
    let prefix = pattern.strip_suffix('/').unwrap_or(pattern);
    id.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The nearest thing there is to an id or pattern that selects nothing: ids that share its words.
pub fn near(pattern: &str) -> Vec<&'static str> {
    let words: Vec<&str> = pattern
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() >= 3)
        .collect();
    let mut ids: Vec<_> = all()
        .map(|case| case.id)
        .filter(|id| words.iter().any(|word| id.contains(word)))
        .collect();
    ids.truncate(NEAR_MAX);
    ids
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // Greedy with one point to come back to: linear in text for each star, no recursion.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Most ids named as near.
const NEAR_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("rtc", "rtc/register-c/read-clears", true)]
    #[case("rtc/", "rtc/register-c/read-clears", true)]
    #[case("rtc/register-c", "rtc/register-c/read-clears", true)]
    #[case("rtc/register-c/read-clears", "rtc/register-c/read-clears", true)]
    #[case("rtc/reg", "rtc/register-c/read-clears", false)]
    #[case("rtc/reg*", "rtc/register-c/read-clears", true)]
    #[case("*/read-clears", "rtc/register-c/read-clears", true)]
    #[case("*register*clears", "rtc/register-c/read-clears", true)]
    #[case("rt?/*", "rtc/register-c/read-clears", true)]
    #[case("rt?", "rtc/register-c/read-clears", false)]
    #[case("*x*", "rtc/register-c/read-clears", false)]
    fn pattern_selects(#[case] pattern: &str, #[case] id: &str, #[case] selected: bool) {
        assert_eq!(matches(pattern, id), selected);
    }
}
