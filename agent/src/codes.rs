//! Every code that an agent puts into a refusal, a failure or a finding, with its one-line meaning. Each has a page
//! `docs/errors/<code>.md`.
//!
//! | range | of |
//! | --- | --- |
//! | RP40xx | configuration, enrolment, identity, link |
//! | RP41xx | the host's policy |
//! | RP42xx | the ledger |
//! | RP43xx | the guard |
//! | RP50xx | repositories |
//! | RP51xx | packages |
//! | RP52xx | trees |
//! | RP53xx | files |
//! | RP54xx | units |
//! | RP55xx | libvirt |

/// Those that the rules themselves speak.
pub use replank_agent_core::codes::{
    CANCELLED, GUARD_ACTION_IN_USE, GUARD_CANNOT_TELL, GUARD_DAEMON, GUARD_DISAGREEMENT,
    GUARD_EMULATOR_REMOVED, GUARD_ENDS, GUARD_FILE_IN_USE, GUARD_IN_PLACE, GUARD_LAZY, GUARD_MANAGER_REMOVED,
    GUARD_REMOVES, GUARD_SOCKET_REMOVED, GUARD_UNIT, GUARD_USAGE_UNKNOWN, LEDGER, OLD_EPOCH,
    PACKAGES_CANNOT_TELL, PACKAGES_GUARDED,
};

/// Every table: that of the rules, and this crate's own.
pub const TABLES: [&[(&str, &str)]; 2] = [replank_agent_core::codes::TABLE, TABLE];

replank_common::codes! {
    CONFIG "RP4001" "the agent's configuration cannot be used"
    NOT_ENROLLED "RP4002" "this host has not been enrolled"
    ALREADY_ENROLLED "RP4003" "this host is enrolled already"
    IDENTITY_FILES "RP4004" "the host's identity cannot be read, used or written"
    UNREACHABLE "RP4005" "the coordinator cannot be reached"
    SERVER_FOREIGN "RP4006" "what answered is not this fleet's coordinator"
    CERTIFICATE_EXPIRED "RP4007" "a certificate has expired"
    CERTIFICATE_EARLY "RP4008" "a certificate is not yet valid"
    REVOKED "RP4009" "this host was revoked"
    CERTIFICATE_REFUSED "RP4010" "a certificate was refused"
    OTHER_HOST "RP4011" "a host's certificate was used for another host"
    TOKEN_MALFORMED "RP4012" "the join token is malformed"
    TOKEN_FOREIGN "RP4013" "the join token is of another fleet"
    TOKEN_UNKNOWN "RP4014" "the join token is not known to the coordinator"
    TOKEN_WRONG_HOST "RP4015" "the join token is for another host"
    TOKEN_USED "RP4016" "the join token was used before"
    TOKEN_EXPIRED "RP4017" "the join token has expired"
    REQUEST_REFUSED "RP4018" "the certificate request was refused"
    COORDINATOR_REFUSED "RP4019" "the coordinator refused"
    NOT_UNDERSTOOD "RP4021" "the command is not understood"
    STOPPING "RP4023" "the agent is stopping"
    METRICS_ADDRESS "RP4024" "the address for metrics cannot be used"
    NOT_ROOT "RP4025" "the agent does not run as root"
    WRITE "RP4026" "a file of the agent cannot be written"
    POLICY_FILE "RP4101" "the policy file cannot be used"
    OBSERVE_ONLY "RP4102" "this host is observed only"
    FAMILY_FORBIDDEN "RP4103" "the policy forbids the family of the action"
    FILE_FORBIDDEN "RP4104" "the policy forbids the path of a file"
    TREE_FORBIDDEN "RP4105" "the policy forbids the path of a tree"
    REPOSITORY_FORBIDDEN "RP4106" "the policy forbids the address of a repository"
    REPOSITORY_WRONG "RP5001" "a repository of the plan cannot be written down"
    REPOSITORY_OTHER "RP5002" "another repository is there under the same name"
    REPOSITORY_INDEX "RP5003" "the index of a repository cannot be fetched or read"
    REPOSITORY_LACKS "RP5004" "a repository does not offer what the plan wants"
    PACKAGES_UNFINISHED "RP5101" "an earlier package transaction was interrupted"
    PACKAGES_UNRESOLVED "RP5102" "the package manager cannot work the transaction out"
    PACKAGES_SURPRISE "RP5103" "the transaction would do more than the plan says"
    PACKAGES_NOT_FOUND "RP5104" "a package is in no repository of the host"
    PACKAGES_DEPENDENCY "RP5105" "a package comes along as a dependency"
    PACKAGES_NO_WAY_BACK "RP5106" "an installed package cannot be had again"
    PACKAGES_ALTERED "RP5107" "a fetched package is not what the index promised"
    PACKAGES_NOT_STAGED "RP5110" "the packages are not staged, or were altered since"
    PACKAGES_FAILED "RP5111" "the package transaction failed"
    PACKAGES_DIFFER "RP5112" "the transaction is not the one that was staged"
    PACKAGES_CHANGED "RP5113" "a package was changed by somebody else"
    PACKAGES_LOST "RP5114" "files of a package are missing after going back"
    PACKAGES_AROUND "RP5115" "a file beside the packages was changed by somebody else"
    PACKAGES_HELD "RP5116" "a package on hold would change"
    PACKAGES_SPACE "RP5117" "there is no room for the packages"
    PACKAGES_LOCKED "RP5118" "another package manager is at work"
    PACKAGES_DISTURBED "RP5119" "a daemon is not the process that it was before the transaction"
    PACKAGES_SCRIPTS "RP5120" "scripts of a package were left out"
    PACKAGES_ACCOUNTS "RP5121" "accounts that came with packages stay"
    PACKAGES_ABSENT "RP5122" "the packages are not at the versions wanted"
    PACKAGES_BY_HAND "RP5123" "a package's file had been altered by hand"
    TREE_OUTSIDE "RP5201" "a relocated build owns files outside its prefix"
    TREE_TAKEN "RP5202" "the prefix of a relocated build is not free"
    TREE_NOT_ALONE "RP5203" "a relocated build is not one package by itself"
    TREE_IN_USE "RP5204" "a tree is in use and stays"
    TREE_INSTALL "RP5205" "a relocated build could not be installed or removed"
    TRIAL_OLD_FILES "RP5206" "the new emulator opens files of the old one"
    TRIAL_UNWATCHED "RP5207" "which files the new emulator opens cannot be told"
    TRIAL_VERSION "RP5208" "the new emulator is not of the expected version"
    TRIAL_MACHINE "RP5209" "the new emulator does not know a guest's machine type"
    TRIAL_ROM_MISSING "RP5210" "the new emulator lacks a boot ROM"
    TRIAL_ROM_CLASS "RP5211" "a boot ROM has another size class than before"
    TRIAL_RUN "RP5212" "the new emulator does not start"
    RETAIN "RP5213" "files that guests use could not be kept"
    RETAIN_SPACE "RP5214" "there is no room to keep the files that guests use"
    RETAIN_MUTABLE "RP5215" "kept files are read-only but not immutable"
    RETAIN_NOT_FOUND "RP5216" "guests will not find what they load later"
    FILE_IO "RP5301" "a file of the host cannot be read or written"
    FILE_ABSENT "RP5302" "a file that is to be edited is not there"
    FILE_SYNTAX "RP5303" "a file cannot be edited as it stands"
    FILE_FOREIGN "RP5304" "a file is in the way that replank did not write"
    FILE_CHANGED "RP5305" "a file was changed by somebody else"
    UNDO_RECORD "RP5306" "an undo record is of another kind of action"
    FILE_DIFFERS "RP5307" "a file does not say what was written"
    SYSTEMD_SILENT "RP5401" "systemd does not answer"
    SYSTEMD_REFUSED "RP5402" "systemd refused, or its job did not end well"
    UNIT_UNFIT "RP5403" "a unit is not there, or cannot be changed so"
    UNIT_LINK "RP5404" "a link of a unit is not what the ledger says"
    UNIT_DIFFERS "RP5405" "a unit is not as the action made it"
    LIBVIRT_SILENT "RP5501" "libvirt does not answer"
    LIBVIRT_STOPPED "RP5502" "libvirt's daemon does not run"
    LIBVIRT_KILL_MODE "RP5503" "stopping libvirt's daemon would end guests"
    LIBVIRT_CENSUS "RP5504" "the guests cannot be told before a restart of libvirt"
    LIBVIRT_JOB "RP5505" "a guest has a job in flight"
    LIBVIRT_RUN_FULL "RP5506" "there is no room for status files"
    LIBVIRT_HOOK "RP5507" "a libvirt hook would have guests killed"
    LIBVIRT_START "RP5508" "libvirt's daemon did not come up as expected"
    LIBVIRT_LOST "RP5509" "a guest was lost during a restart of libvirt"
    LIBVIRT_TAKE_OVER "RP5510" "libvirt has not taken over every guest"
    LIBVIRT_ON_DISK "RP5511" "the installed libvirt is not the one expected"
    LIBVIRT_UNREADABLE "RP5512" "a libvirt cannot read the status of a guest"
    LIBVIRT_TRIAL_UNCLEAR "RP5513" "a trial of libvirt does not tell about a guest"
    LIBVIRT_TRIAL "RP5514" "a trial of libvirt could not be carried out"
    LIBVIRT_SOCKET "RP5515" "a socket of libvirt does not listen"
    LIBVIRT_AUTOSTART "RP5516" "a restart of libvirt would start a domain"
    CEPH_SILENT "RP5601" "the cluster does not answer"
    CEPH_MAY_NOT "RP5602" "daemons of Ceph may not stop now"
    CEPH_ON_DISK "RP5603" "the installed Ceph is not the one expected"
    CEPH_DOWN "RP5604" "a daemon of Ceph does not run"
    CEPH_STOP "RP5605" "a daemon of Ceph does not end"
    CEPH_START "RP5606" "a daemon of Ceph did not come up as expected"
    CEPH_OLD_OSD "RP5607" "an OSD is older than what would be required"
    CEPH_DIFFERS "RP5608" "the cluster is not as it was told to be"
    CEPH_CHANGED "RP5609" "a setting of the cluster was changed by somebody else"
    CEPH_SETTING "RP5610" "the daemons do not take a setting"
    CEPH_ORDER "RP5611" "requirements of a cluster in the wrong order"
    CEPH_OWN_TREE "RP5612" "the files of a daemon of Ceph cannot be given to another owner"
    CEPH_OWN_SETUP "RP5613" "a daemon of Ceph could not start while its files change their owner"
    CEPH_OWN_DEVICE "RP5614" "a device of an OSD would not stay the ceph user's"
    CEPH_OWN_LATE "RP5615" "a daemon of Ceph would be down too long while its files change their owner"
    CEPH_OWN_USER "RP5616" "a daemon of Ceph does not run as the user of its files"
    CEPH_REFUSED "RP5617" "the cluster answers a command with a no"
}
