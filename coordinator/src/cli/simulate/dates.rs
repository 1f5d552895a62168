//! Dates of the simulated clocks, told as time since the run began.

use replank_core::gate::duration;
use replank_sim::START_MS;

/// The simulated clocks go through the first month of 1970.
const MONTH: &str = "1970-01-";
const DAY_MS: u64 = 86_400_000;

/// Every date in `text` as time since the run began. What is no date stays as it is.
pub(super) fn since_the_start(text: &str) -> String {
    let mut told = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(MONTH) {
        let (before, date) = rest.split_at(at);
        told.push_str(before);
        rest = match moment(date) {
            Some((at_ms, after)) => {
                told.push_str(&shown(at_ms));
                after
            }
            None => {
                told.push_str(MONTH);
                &date[MONTH.len()..]
            }
        };
    }
    told + rest
}

/// Clocks jump, also to before the start.
fn shown(at_ms: u64) -> String {
    match at_ms.checked_sub(START_MS) {
        Some(since_ms) => format!("{} after the start", duration(since_ms)),
        None => format!("{} before the start", duration(START_MS - at_ms)),
    }
}

/// Reads `1970-01-12 13:46:40.250 UTC` at the head of `text`: milliseconds since 1970, and what follows.
fn moment(text: &str) -> Option<(u64, &str)> {
    let (day, rest) = text.strip_prefix(MONTH)?.split_once(' ')?;
    let (time, rest) = rest.split_once(' ')?;
    let rest = rest.strip_prefix("UTC")?;
    let (clock, ms) = time.split_once('.')?;
    let number = |digits: &str, many: usize| digits.parse::<u64>().ok().filter(|_| digits.len() == many);
    let mut parts = clock.split(':').map(|part| number(part, 2));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let (day, ms) = (number(day, 2)?, number(ms, 3)?);
    let of_day_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms;
    Some((day.checked_sub(1)? * DAY_MS + of_day_ms, rest))
}

#[cfg(test)]
mod tests {
    use super::since_the_start;
    use replank_core::gate::utc;
    use replank_sim::START_MS;

    #[test]
    fn dates_of_simulated_clocks_are_time_since_the_start_and_nothing_else_is() {
        let line = format!(
            "cannot be heard since {}; lost at {}: so",
            utc(START_MS + 185_250),
            utc(START_MS - 4_200)
        );
        let said = "cannot be heard since 3 min 05 s after the start; lost at 4.2 s before the start: so";
        assert_eq!(since_the_start(&line), said);
        for other in
            ["1970-01-", "of 1970-01-02, a Friday", "2026-11-29 11:40:00.000 UTC", "1970-01-00 0:0:0.0 UTC"]
        {
            assert_eq!(since_the_start(other), other);
        }
    }
}
