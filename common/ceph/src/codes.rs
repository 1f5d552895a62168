//! Every code of a document that cannot be read, and of what keeps daemons from stopping, with its title. Each has a page
//! `docs/errors/<code>.md`.
//!
//! | range | of |
//! | --- | --- |
//! | RP12xx | documents of Ceph |
//! | RP22xx | what keeps OSDs and MONs from stopping |

replank_common::codes! {
    CEPH_NOT_JSON "RP1201" "a document of Ceph is not JSON"
    CEPH_OTHER_DOCUMENT "RP1202" "a document of Ceph is not the one that was asked for"
    CEPH_FIELD "RP1203" "a document of Ceph lacks a field or contradicts itself"
    CEPH_NOT_READY "RP1204" "the manager has not heard of the placement groups yet"
    CEPH_NAME "RP1205" "a name is not in the documents of Ceph"
    OSD_DOWN "RP2201" "an OSD outside the set is down"
    PG_COPIES "RP2202" "a placement group would have too few complete copies left"
    POOL_CONSENT "RP2203" "a pool's thin redundancy is not accepted"
    POOL_NEVER "RP2204" "a pool can never spare a copy"
    PG_UNSETTLED "RP2205" "a placement group is not in service"
    PG_DAMAGED "RP2206" "a placement group has copies that cannot be trusted"
    PG_UNKNOWN "RP2207" "the documents do not tell how many copies a placement group has"
    PG_ABSENT "RP2208" "placement groups are missing from the documents"
    DOCUMENTS_APART "RP2209" "the documents of Ceph do not belong together"
    MON_QUORUM "RP2210" "the MONs would be one step from losing their quorum"
    MON_HOSTS "RP2211" "two machines with MONs would stop at once"
}
