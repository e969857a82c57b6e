//! Dates of set-ups as seconds.

/// Seconds from 1970-01-01T00:00:00 to a `YYYY-MM-DDTHH:MM:SS`; `None` when it is no date.
pub fn seconds_of(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    in_range.then(|| ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let parts: Vec<i64> = text
        .split(separator)
        .map(|part| part.parse::<u16>().ok().map(i64::from))
        .collect::<Option<_>>()?;
    parts.try_into().ok()
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - DAYS_TO_1970
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1970-01-01T00:00:00", Some(0))]
    #[case("2000-01-01T00:00:00", Some(946_684_800))]
    #[case("2020-02-28T23:59:50", Some(1_582_934_390))]
    #[case("2020-02-29T00:00:00", Some(1_582_934_400))]
    #[case("2100-03-01T00:00:00", Some(4_107_542_400))]
    #[case("2020-13-01T00:00:00", None)]
    #[case("2020-01-01", None)]
    fn date_is_seconds_since_1970(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(seconds_of(text), seconds);
    }
}
