//! The facts of every host, as one document.
