//! How a crate's table of codes is made. Each code has a page `docs/errors/<code>.md`.

/// `NAME "RPnnnn" "title"` lines become one constant each, and `TABLE` of all of them.
#[macro_export]
macro_rules! codes {
    ($($name:ident $code:literal $title:literal)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*

        /// Code and title, in ascending order of code.
        pub const TABLE: &[(&str, &str)] = &[$(($code, $title)),*];
    };
}
