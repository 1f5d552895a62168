//! One link, from its hello to its end.
