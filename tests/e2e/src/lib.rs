//! Scenarios on the lab, with the real binaries.
