//! The codes of what the coordinator has to say by itself. Each has a page `docs/errors/<code>.md`. What the core refuses keeps the core's
//! code.
//!
//! | range | of |
//! | --- | --- |
//! | RP60xx | the coordinator's folder and store |
//! | RP61xx | links and enrolment |
//! | RP62xx | what operators ask for |

replank_common::codes! {
    FOLDER_TAKEN "RP6001" "the coordinator's folder holds something already"
    FOLDER_FILE "RP6002" "a file of the coordinator's folder cannot be used"
    SETTINGS "RP6003" "the coordinator's settings cannot be used"
    FOLDER_LOCKED "RP6004" "another coordinator uses the same folder"
    STORE_OPEN "RP6005" "the store cannot be opened"
    STORE_FOREIGN "RP6006" "the store is another program's or a newer replank's"
    STORE_FAILED "RP6007" "the store failed"
    JOURNAL_DAMAGED "RP6008" "a journal was damaged or edited"
    JOURNAL_MOVED_ON "RP6009" "another coordinator wrote to the store"
    LISTEN "RP6010" "an address cannot be listened on"
    AUTHORITY "RP6011" "the authority or a certificate of the coordinator cannot be used"
    JOURNAL_NEWER "RP6012" "a journal was written by a newer replank"
    NO_CERTIFICATE "RP6101" "the caller presented no certificate"
    CERTIFICATE_REFUSED "RP6102" "the caller's certificate holds no more"
    NOT_ALLOWED "RP6103" "the caller may not do this"
    TOKEN_REFUSED "RP6104" "the join token was refused"
    HOST_REVOKED "RP6105" "the host was revoked"
    REQUEST_REFUSED "RP6106" "the certificate request was refused"
    LINK_PROTOCOL "RP6107" "a message on a link cannot be understood"
    LINK_SILENT "RP6108" "a link was silent for too long"
    LINK_REPLACED "RP6109" "a link was replaced by a newer one"
    LINK_SLOW "RP6110" "a host does not take its messages"
    NOT_SERVING "RP6201" "the coordinator does not lead"
    BAD_REQUEST "RP6202" "a request cannot be understood"
    PLAN_UNKNOWN "RP6203" "the plan is not known here"
    PLAN_LINT "RP6204" "the plan breaks a promise"
    RUN_UNKNOWN "RP6205" "the run is not known here"
    HOST_UNKNOWN "RP6206" "the host is not known here"
    HOSTS_BUSY "RP6207" "another run is under way on the same hosts"
    LATER_RUN "RP6208" "a later run changed the same hosts"
    HOST_NOT_ENROLLED "RP6209" "a host of the plan is not enrolled"
    OPERATOR_UNKNOWN "RP6210" "the operator is not known here"
    OPERATOR_EXISTS "RP6211" "the operator has a certificate already"
    LAST_ADMIN "RP6212" "the last admin cannot revoke itself"
}
