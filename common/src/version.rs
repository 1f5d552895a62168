//! Version texts of the kinds that appear in facts, and the comparison of upstream parts.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// An upstream version as a program prints it of itself: `9.0.0`, `10.0.2`, `1.5.3`. Compared number by number; a
/// missing number counts as 0; anything after the numbers is kept and not compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()
            .unwrap_or_default()
            .split('.')
            .map_while(|part| if part.is_empty() { None } else { part.parse().ok() })
    }

    /// Whether this version begins with the numbers of `series`: `9.0.0` is of series `9` and `9.0`, not of `9.1`.
    pub fn is_of_series(&self, series: &Version) -> bool {
        let mut own = self.numbers();
        series.numbers().all(|wanted| own.next() == Some(wanted))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (self.numbers(), other.numbers());
        loop {
            match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                (x, y) => match x.unwrap_or(0).cmp(&y.unwrap_or(0)) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
    }
}

impl Hash for Version {
    /// As [`PartialEq`] compares: zeros at the end say nothing.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut numbers: Vec<u64> = self.numbers().collect();
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        numbers.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        Version::new(text)
    }

    #[test]
    fn numbers_decide_and_the_rest_does_not() {
        assert!(v("10.0.2") > v("7.2.18"));
        assert!(v("9.0") == v("9.0.0"));
        assert!(v("1.2.17") < v("3.2.0"));
        assert!(v("7.2+dfsg-7") == v("7.2"));
        assert!(v("").cmp(&v("0")) == Ordering::Equal);
    }

    #[test]
    fn a_series_is_a_prefix_of_numbers_not_of_text() {
        assert!(v("10.0.2").is_of_series(&v("10.0")));
        assert!(!v("10.0.2").is_of_series(&v("1")));
        assert!(!v("9.0.0").is_of_series(&v("9.1")));
    }
}
