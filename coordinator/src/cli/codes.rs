//! The codes of what the command line itself has to say. Each has a page `docs/errors/<code>.md`. What the core or the coordinator
//! refuses keeps the code that it was given there.

replank_common::codes! {
    UNEXPECTED "RP6300" "the command line met something unexpected"
    FILE_READ "RP6301" "an input file cannot be read"
    FILE_WRITE "RP6302" "an output file cannot be written"
    SETTINGS "RP6303" "the operator's settings cannot be used"
    IDENTITY "RP6304" "the operator's certificate cannot be used"
    UNREACHABLE "RP6305" "the coordinator cannot be reached"
    TLS_REFUSED "RP6306" "one side refused the other's certificate"
    OUTCOME_UNKNOWN "RP6307" "the connection broke before the coordinator answered"
    REFUSED "RP6308" "the coordinator refused"
    COORDINATOR_FAILED "RP6309" "the coordinator failed"
    ANSWER_UNREADABLE "RP6310" "the coordinator's answer cannot be read"
    BLOCKED "RP6311" "blockers stand in the way"
    UNSOUND "RP6312" "the plan breaks a promise"
    BEATS "RP6313" "a file of beats cannot be used"
    RUN_HALTED "RP6314" "the run is halted"
    RUN_WAITS "RP6315" "the run waits for an operator"
    RUN_NOT_COMPLETED "RP6316" "the run ended other than completed"
    OUTPUT_TAKEN "RP6317" "a file that would be written is there already"
    PROFILE "RP6318" "no profile of faults has that name"
    SIMULATION_HELD "RP6319" "a simulated run was held"
    SIMULATION_BROKE "RP6320" "a simulated run broke a promise"
    NOT_SAFE "RP6321" "OSDs or MONs may not stop now"
    CANNOT_TELL "RP6322" "the documents do not tell whether OSDs or MONs may stop"
    CLUSTER_UNSIMULATED "RP6323" "what is known of a Ceph cluster is not enough to simulate it"
}
