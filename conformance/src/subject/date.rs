//! Dates of set-ups as seconds.

/// Seconds from 1970-01-01T00:00:00 to a `YYYY-MM-DDTHH:MM:SS`; `None` when it is no date.
pub fn seconds_of(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    in_range.then(|| ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// `YYYY-MM-DDTHH:MM:SS` of seconds since 1970-01-01T00:00:00.
pub fn text_of(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Eras of 400 years, then years that begin in March.
    let days = days + DAYS_TO_1970;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
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

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097 {
            let seconds = day * 86_400 + 3_723;
            assert_eq!(seconds_of(&text_of(seconds)), Some(seconds));
        }
    }
}
