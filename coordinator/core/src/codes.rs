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
    FLEET_UNKNOWN_KEY "RP1002" "the fleet file has a key that is not known there"
    FLEET_TYPE "RP1003" "a value of the fleet file is of the wrong type"
    FLEET_MISSING "RP1004" "the fleet file lacks something"
    FLEET_NAME "RP1005" "a name in the fleet file cannot be one"
    FLEET_TWICE "RP1006" "the fleet file says something twice"
    FLEET_RANGE "RP1007" "a number in the fleet file is out of range"
    FLEET_WORD "RP1008" "a word in the fleet file is not one of those known there"
    FLEET_PATH "RP1009" "a path in the fleet file cannot be used"
    FLEET_REFERENCE "RP1010" "the fleet file names something that it does not describe"
    FLEET_OPEN_TCP "RP1011" "libvirt over TCP without authentication was not acknowledged"
    FLEET_ADDRESS "RP1012" "an address in the fleet file cannot be used"
    FLEET_VERSION "RP1013" "a version in the fleet file is not exact"
    FLEET_CONTRADICTION "RP1014" "the fleet file contradicts itself"
    FLEET_TOO_LARGE "RP1015" "the fleet file is larger than a fleet can be"
}
