//! The codes of the refusals and findings that the rules themselves speak. Each has a page `docs/errors/<code>.md`; the ranges are told in
//! the agent's table.

replank_common::codes! {
    OLD_EPOCH "RP4020" "the command carries an old epoch"
    CANCELLED "RP4022" "the action was cancelled before it started"
    LEDGER "RP4201" "the agent's ledger cannot be used"
    GUARD_DAEMON "RP4301" "a package's script stops or restarts what guests depend on"
    GUARD_IN_PLACE "RP4302" "a package's script writes into a file that guests have mapped"
    GUARD_REMOVES "RP4303" "a package's script removes what guests use"
    GUARD_ENDS "RP4304" "a package's script may end guests"
    GUARD_CANNOT_TELL "RP4305" "what a package's script does to guests cannot be told"
    GUARD_LAZY "RP4306" "a directory that guests load from later would be changed"
    GUARD_EMULATOR_REMOVED "RP4307" "the transaction removes the emulator of a running guest"
    GUARD_SOCKET_REMOVED "RP4308" "the transaction removes a socket of a running guest"
    GUARD_MANAGER_REMOVED "RP4309" "the transaction removes libvirt's daemon"
    GUARD_FILE_IN_USE "RP4310" "the transaction replaces files that guests have mapped"
    GUARD_ACTION_IN_USE "RP4311" "an action would touch what guests use"
    GUARD_UNIT "RP4312" "an action would change how guests end"
    GUARD_DISAGREEMENT "RP4313" "the sources of the census do not agree"
    GUARD_USAGE_UNKNOWN "RP4314" "what guests use cannot be told"
    PACKAGES_GUARDED "RP5108" "the transaction would endanger guests"
    PACKAGES_CANNOT_TELL "RP5109" "it cannot be told what the transaction does to guests"
}
