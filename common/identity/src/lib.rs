//! Certificates of a fleet: the authority, enrolment by token, rotation without restart, revocation.
