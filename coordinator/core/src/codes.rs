//! Every code that the core gives a mistake, a finding, a refusal or a lint note, with its title. Each has a page
//! `docs/errors/<code>.md`.
//!
//! | range | of |
//! | --- | --- |
//! | RP10xx | the fleet file |
//! | RP11xx | catalog, inventory and plan files |
//! | RP20xx | preflight and planning |
//! | RP21xx | lint |
//! | RP30xx | runs: refusals to operators, and why a run waits or stops |

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
    CATALOG_FILE "RP1101" "a catalog file cannot be used"
    INVENTORY_FORM "RP1102" "the inventory is not in its JSON form"
    INVENTORY_NEWER "RP1103" "the inventory was written by a newer replank"
    PLAN_FORM "RP1104" "the plan file is not in its JSON form"
    PLAN_NEWER "RP1105" "the plan was made by a newer replank"
    PLAN_CHANGED "RP1106" "the plan file was changed after it was made"
    HOP_UNKNOWN "RP2001" "the catalog does not know a hop of the fleet file"
    HOP_PAIR "RP2002" "the fleet file does not name one hop of qemu and one of libvirt"
    TARGET_VERSION "RP2003" "a version in the fleet file is not where the hop leads"
    PACKAGE_NOT_PINNED "RP2004" "a package of libvirt is not pinned"
    REPOSITORY "RP2005" "a repository is missing or of the wrong kind"
    REPOSITORY_UNSIGNED "RP2006" "signatures of a repository's packages are not checked"
    FLAW "RP2007" "a known flaw of the new build is not declared as mended"
    FLAW_NOTE "RP2008" "a known flaw of the new build is worth knowing"
    WAY_LATER "RP2009" "evacuating a host first is a later capability"
    NO_FACTS "RP2010" "nothing is known of a host"
    FACT_UNKNOWN "RP2011" "a fact of a host could not be learned"
    WRONG_OS "RP2012" "a hop is not for the host's operating system"
    NO_PACKAGE_MANAGER "RP2013" "a package manager is missing"
    STALE_VERSION "RP2014" "a host has a version that is neither old nor new"
    LIBVIRTD_SILENT "RP2015" "libvirtd does not answer"
    OTHER_DAEMON "RP2016" "another daemon than the hop knows manages the guests"
    KILL_MODE "RP2017" "stopping libvirtd's unit would end guests"
    LISTEN_TRAP "RP2018" "libvirtd would not start with the way it listens"
    TLS_FILES "RP2019" "the certificates for libvirt's TLS are not shown"
    HOOK "RP2020" "a libvirt hook fails for reconnect"
    AUTOSTART "RP2021" "a domain flagged autostart does not run"
    GUEST_JOB "RP2022" "a guest has a job in flight"
    GUEST_STATE "RP2023" "a guest is neither running nor at rest"
    GUEST_TWICE "RP2024" "a guest is active on two hosts"
    CENSUS "RP2025" "the sources of a census do not agree"
    EMULATOR_MISSING "RP2026" "an emulator is missing"
    EMULATOR_BROKEN "RP2027" "an emulator does not run"
    EMULATOR_REPLACED "RP2028" "a guest's emulator was replaced on disk"
    RUN_FULL "RP2029" "/run is full"
    READ_ONLY "RP2030" "a file system is read-only"
    NO_SPACE "RP2031" "a file system has too little room"
    GUESTS_UNIT "RP2032" "a unit that would end guests is active"
    NEEDRESTART "RP2033" "needrestart restarts services by itself"
    WATCHER "RP2034" "a service would stop or end guests while libvirtd restarts"
    HALF_DONE "RP2035" "an upgrade of libvirt was interrupted"
    ALREADY_DONE "RP2036" "a host is done already"
    UNTOUCHED "RP2037" "a host is left untouched"
    STRANGER "RP2038" "a host of the inventory is not in the fleet file"
    NO_PEER "RP2039" "no other host can check libvirt over TCP"
    RUN_NOT_LED "RP3001" "this coordinator does not lead the run"
    RUN_FINISHED "RP3002" "the run is finished"
    RUN_UNKNOWN_NAME "RP3003" "the plan has no hold or step of that name"
    HOLD_NOT_REACHED "RP3004" "the hold is not reached yet"
    HOLD_APPROVED_ALREADY "RP3005" "the hold is approved already"
    STEP_NOT_HELD "RP3006" "the step is not held"
    RUN_HALTED "RP3007" "the run is halted and waits for a decision"
    LOSS_NOT_ACKNOWLEDGED "RP3008" "a lost guest is not acknowledged"
    NOTHING_TO_RESUME "RP3009" "the run is neither paused nor halted"
    RUN_PAUSED_ALREADY "RP3010" "the run is paused already"
    RUN_NOT_FORWARD "RP3011" "the run is not on its way forward"
    RUN_CLOSING "RP3012" "the run is closing already"
    ROLLBACK_UNDER_WAY "RP3013" "a rollback is under way already"
    NOTHING_TO_TAKE_BACK "RP3014" "there is nothing to take back"
    ROLLBACK_NO_WAY_BACK "RP3015" "a step cannot be taken back"
    ROLLBACK_REFUSED "RP3016" "a guard refused the rollback"
    RUN_GUEST_LOST "RP3020" "a guest was lost: the fleet is halted"
    RUN_GUEST_TWICE "RP3021" "a guest runs on two hosts: the fleet is halted"
    RUN_HOST_REBOOTED "RP3022" "a host rebooted under its guests: the fleet is halted"
    RUN_CANNOT_TELL "RP3023" "the run waits because it cannot tell"
    RUN_GATE_WAITS "RP3024" "a step waits at a gate"
    RUN_STEP_HELD "RP3025" "a step is held after a refusal or a failure"
    RUN_NO_ANSWER "RP3026" "a command has no answer after its deadline"
    RUN_PLAN_UNSOUND "RP3030" "the plan cannot be run"
    RUN_JOURNAL_ILLEGAL "RP3031" "the journal cannot be read back"
    RUN_DEPOSED "RP3032" "another coordinator leads"
}
