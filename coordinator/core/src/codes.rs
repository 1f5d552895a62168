//! Every code that the core gives a mistake, a finding, a refusal or a lint note, with its title. Each has a page
//! `docs/errors/<code>.md`.
//!
//! | range | of |
//! | --- | --- |
//! | RP10xx | the fleet file |
//! | RP11xx | catalog, inventory and plan files |
//! | RP20xx | preflight and planning |
//! | RP21xx | lint |

macro_rules! codes {
    ($($name:ident $code:literal $title:literal)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*

        /// Code and title, in ascending order of code.
        pub const TABLE: &[(&str, &str)] = &[$(($code, $title)),*];
    };
}

codes! {
    FLEET_SYNTAX "RP1001" "the fleet file is not TOML"
}
