//! The operator's fleet file.
