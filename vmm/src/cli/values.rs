//! Values of options as QEMU writes them: lists of `key=value`, sizes with suffixes, dates.

use super::{CliError, OnOffAuto};

/// A comma-separated list of `key=value` or bare words; a doubled comma stands for one.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    option: &'static str,
    items: Vec<(String, Option<String>)>,
}

impl Pairs {
    /// Splits `text`, which the user gave to `option`. An empty text is an empty list.
    pub(super) fn parse(option: &'static str, text: &str) -> Result<Pairs, CliError> {
        let mut items: Vec<(String, Option<String>)> = Vec::new();
        for item in split_commas(text) {
            if item.is_empty() {
                return Err(CliError::Usage(format!(
                    "{option} '{text}': there is nothing between two commas; a comma in a value is written twice"
                )));
            }
            let (key, value) = match item.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (item, None),
            };
            if items.iter().any(|(other, _)| *other == key) {
                return Err(CliError::Usage(format!(
                    "{option} '{text}': '{key}' is given twice; drop one"
                )));
            }
            items.push((key, value));
        }
        Ok(Pairs { option, items })
    }

    /// The items in the order given.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.items.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// The value of `key`.
    pub(super) fn value_of(&self, key: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == key)?.1
    }

    /// An error about one item; `fix` reads on from the value.
    pub(super) fn bad(&self, key: &str, value: &str, fix: &str) -> CliError {
        CliError::Usage(format!("{} {key}='{value}': {key} {fix}", self.option))
    }

    /// Reads `on` or `off`.
    pub(super) fn on_off(&self, key: &str, value: &str) -> Result<bool, CliError> {
        match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.bad(key, value, "is on or off")),
        }
    }

    /// Reads `on`, `off` or `auto`.
    pub(super) fn on_off_auto(&self, key: &str, value: &str) -> Result<OnOffAuto, CliError> {
        match value {
            "on" => Ok(OnOffAuto::On),
            "off" => Ok(OnOffAuto::Off),
            "auto" => Ok(OnOffAuto::Auto),
            _ => Err(self.bad(key, value, "is on, off or auto")),
        }
    }
}

/// Reads a decimal or `0x` hexadecimal number.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => parse_decimal(text),
    }
}

/// Reads a decimal number: digits and nothing else.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Reads the address of a network device: six bytes in hexadecimal with colons between them, of one station (bit 0 of
/// the first is clear).
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let digits = parts.next().filter(|part| part.len() == 2)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    }
    (parts.next().is_none() && mac[0] & 1 == 0).then_some(mac)
}

/// Reads a size: digits, perhaps a fraction, perhaps a suffix B, K, M, G or T; without suffix it counts `unit_bytes`.
/// A fraction of a byte is dropped, and what 64 bits cannot count is the most they can. The error says what to write
/// instead.
pub(super) fn parse_size(text: &str, unit_bytes: u64) -> Result<u64, String> {
    let fix = || "is a size such as 512K, 128M, 1.5G or 1T".to_owned();
    if text.starts_with("0x") || text.starts_with("0X") {
        let number = parse_number(text).and_then(|number| number.checked_mul(unit_bytes));
        return number.ok_or_else(fix);
    }
    let (digits, unit_bytes) = match text.char_indices().last() {
        Some((at, 'b' | 'B')) => (&text[..at], 1),
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        Some((at, 't' | 'T')) => (&text[..at], 1 << 40),
        _ => (text, unit_bytes),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || FRACTION_DIGITS_MAX < fraction.len() {
        return Err(fix());
    }
    // All digits: what does not parse is too large.
    let whole = whole.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(unit_bytes);
    let scale = 10_u128.pow(fraction.len() as u32);
    let part = fraction.parse::<u128>().map_err(|_| fix())? * u128::from(unit_bytes) / scale;
    Ok(whole.saturating_add(part as u64))
}

/// Reads `YYYY-MM-DDTHH:MM:SS` or `YYYY-MM-DD` as seconds since 1970-01-01T00:00:00. The error says what to write.
pub(super) fn parse_date_time(text: &str) -> Result<i64, String> {
    let fix = || "is utc, localtime or a date such as 2020-02-28T23:59:50".to_owned();
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let [year, month, day] = digits(date, '-', [4, 2, 2]).ok_or_else(fix)?;
    let [hour, minute, second] = digits(time, ':', [2, 2, 2]).ok_or_else(fix)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(fix()),
    };
    if !(1..=month_days).contains(&day) || 23 < hour || 59 < minute || 59 < second || year < 1970 {
        return Err(fix());
    }
    // Days of a calendar whose year starts in March, so that the leap day comes last.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970;
    Ok(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn split_commas(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut items = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ',' && characters.next_if_eq(&',').is_none() {
            items.push(String::new());
        } else if let Some(item) = items.last_mut() {
            item.push(character);
        }
    }
    items
}

fn digits(text: &str, separator: char, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length)?;
        *number = i64::try_from(parse_number(part)?).ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Digits after the point that still fit the arithmetic.
const FRACTION_DIGITS_MAX: usize = 18;

/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
