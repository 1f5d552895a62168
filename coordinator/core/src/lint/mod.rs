//! A second, independent reader of finished plans.
