//! Times as RFC 3339 has them, in UTC, to the microsecond.

use std::time::{Duration, SystemTime};

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// Days of a cycle of the calendar's leap years, which is 400 years.
const DAYS_OF_A_CYCLE: u64 = 400 * 365 + 97;

/// Days from the first of March of the year 0 to the first of January of 1970.
const DAYS_BEFORE_1970: u64 = 719_468;

/// The last second of the year 9999, beyond which years have no four digits.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The time in 27 characters, such as `2026-02-28T23:59:59.999999Z`.
pub(super) fn rfc3339(time: SystemTime) -> [u8; 27] {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    let (days, second) = (since_1970.as_secs() / SECONDS_OF_A_DAY, since_1970.as_secs() % SECONDS_OF_A_DAY);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |place: usize, digits: usize, mut value: u64| {
        for digit in text[place..place + digits].iter_mut().rev() {
            *digit = b"0123456789"[(value % 10) as usize];
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, second / 3600);
    put(14, 2, second / 60 % 60);
    put(17, 2, second % 60);
    put(20, 6, since_1970.subsec_micros().into());
    text
}

/// Year, month and day, so many days after the first of January 1970. Years are counted from March, so that a leap day is
/// the last of its year, and months are of 30.6 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE_1970;
    let (cycle, day) = (days / DAYS_OF_A_CYCLE, days % DAYS_OF_A_CYCLE);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * cycle + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(since_1970: Duration) -> String {
        String::from_utf8(rfc3339(SystemTime::UNIX_EPOCH + since_1970).to_vec()).expect("ASCII")
    }

    #[test]
    fn times_are_what_date_1_says() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (90_061, "1970-01-02T01:01:01"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (2_147_483_648, "2038-01-19T03:14:08"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (11_847_456_541, "2345-06-07T08:09:01"),
            (253_402_300_799, "9999-12-31T23:59:59"),
            (u32::MAX.into(), "2106-02-07T06:28:15"),
        ] {
            assert_eq!(text(Duration::from_secs(seconds)), format!("{expected}.000000Z"));
        }
        assert_eq!(text(Duration::new(1, 1_234_999)), "1970-01-01T00:00:01.001234Z");
        assert_eq!(text(Duration::new(1, 999_999_999)), "1970-01-01T00:00:01.999999Z");
    }

    #[test]
    fn each_day_of_400_years_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..DAYS_OF_A_CYCLE {
            assert_eq!(date(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn a_clock_beyond_four_digits_is_held_to_them() {
        assert_eq!(text(LAST + Duration::from_hours(1)), "9999-12-31T23:59:59.000000Z");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(rfc3339(before), *b"1970-01-01T00:00:00.000000Z");
    }
}
