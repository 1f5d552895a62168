//! What the program knows of releases, as data files.
