//! Durations as people write them in flags: `250ms`, `5s`, `2m`, `1h`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number in front of the unit.
    #[error("`{0}` does not begin with a number")]
    Number(String),
    /// No unit, or one that is not known.
    #[error("`{0}` needs a unit: ms, s, m or h, as in 250ms")]
    Unit(String),
    /// More than a duration can hold.
    #[error("`{0}` is too long")]
    TooLong(String),
}

/// Reads a whole number with a unit of `ms`, `s`, `m` or `h`; a plain `0` needs none.
///
/// # Errors
///
/// When the text is anything else: a number without a unit is refused, because half of the programs
/// of this field take it for seconds and the other half for milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, unit) = text.split_at(text.len() - digits.len());
    if number.is_empty() {
        return Err(DurationError::Number(text.to_owned()));
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let number: u64 = number.parse().map_err(|_| too_long())?;
    let seconds_per_unit = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "" if number == 0 => return Ok(Duration::ZERO),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(DurationError::Unit(text.to_owned())),
    };
    let seconds = number.checked_mul(seconds_per_unit).ok_or_else(too_long)?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let ms = Duration::from_millis;
        for (text, want) in [
            ("0", ms(0)),
            ("0s", ms(0)),
            ("250ms", ms(250)),
            ("5s", ms(5_000)),
            ("2m", ms(120_000)),
            ("1h", ms(3_600_000)),
        ] {
            assert_eq!(parse_duration(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_and_named() {
        let owned = str::to_owned;
        for (text, want) in [
            ("", DurationError::Number(owned(""))),
            ("s", DurationError::Number(owned("s"))),
            ("-5s", DurationError::Number(owned("-5s"))),
            ("5", DurationError::Unit(owned("5"))),
            ("5 s", DurationError::Unit(owned("5 s"))),
            ("1.5s", DurationError::Unit(owned("1.5s"))),
            ("5d", DurationError::Unit(owned("5d"))),
            (
                "99999999999999999999s",
                DurationError::TooLong(owned("99999999999999999999s")),
            ),
            (
                "9999999999999999999h",
                DurationError::TooLong(owned("9999999999999999999h")),
            ),
        ] {
            assert_eq!(parse_duration(text), Err(want), "{text}");
        }
    }
}
