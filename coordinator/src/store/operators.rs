//! The operators' certificates: signed, listed, revoked.
//!
//! Whoever asks is judged again inside the transaction: an admin who was revoked a moment ago neither lets anybody in nor shuts anybody out,
//! and a certificate that is revoked while it renews itself gives no new one.

use super::database::signed;
use super::roster::{insert_issued, read};
use super::{Database, StoreError};
use replank_common::UnixMs;
use replank_identity::{Issued, Level, OperatorName, Role, Serial, UnixSeconds};
use rusqlite::{Connection, params};

/// One certificate of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorCertificate {
    pub name: OperatorName,
    pub level: Level,
    pub serial: Serial,
    pub not_after: UnixSeconds,
    pub revoked: bool,
}

impl OperatorCertificate {
    /// It opens the door at `now`.
    pub fn holds(&self, now: UnixSeconds) -> bool {
        !self.revoked && now <= self.not_after
    }
}

/// Who asks, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    pub name: OperatorName,
    pub serial: Serial,
    pub now: UnixSeconds,
    pub now_ms: UnixMs,
}

/// What became of a certificate that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// It may leave.
    Recorded,
    /// Nothing was recorded: whoever asked was revoked meanwhile.
    AskerRevoked,
    /// Nothing was recorded: somebody of that name has one that holds.
    Taken(OperatorCertificate),
}

/// What became of a wish to revoke an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dismissal {
    /// All its certificates are revoked; so many were not before.
    Done { certificates: usize },
    /// Nothing has changed: whoever asked was revoked meanwhile.
    AskerRevoked,
    /// Nobody of that name ever had a certificate.
    Unknown,
    /// Nothing has changed: whoever asked would leave nobody behind who can make operators.
    LastAdmin,
}

impl Database {
    /// Every certificate of every operator, by name, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::Form`].
    pub fn operators(&self) -> Result<Vec<OperatorCertificate>, StoreError> {
        certificates(&self.connection)
    }

    /// Records an operator's first certificate before it leaves, if the name is free.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; it must not leave then.
    pub fn admit_operator(&mut self, issued: &Issued, by: &Asker) -> Result<Signing, StoreError> {
        self.sign(issued, by, |known| match &issued.role {
            Role::Operator { name, .. } => {
                known.into_iter().find(|one| one.name == *name && one.holds(by.now))
            }
            Role::Host(_) | Role::Coordinator => None,
        })
    }

    /// Records the certificate with which an operator goes on, before it leaves.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; it must not leave then.
    pub fn renew_operator(&mut self, issued: &Issued, by: &Asker) -> Result<Signing, StoreError> {
        self.sign(issued, by, |_| None)
    }

    fn sign(
        &mut self,
        issued: &Issued,
        by: &Asker,
        taken: impl FnOnce(Vec<OperatorCertificate>) -> Option<OperatorCertificate>,
    ) -> Result<Signing, StoreError> {
        let failed = StoreError::failed("record an operator's certificate");
        let transaction = self.begin(&failed)?;
        if is_revoked(&transaction, by.serial)? {
            return Ok(Signing::AskerRevoked);
        }
        if let Some(known) = taken(certificates(&transaction)?) {
            return Ok(Signing::Taken(known));
        }
        insert_issued(&transaction, issued, by.now_ms)?;
        transaction.commit().map_err(&failed)?;
        Ok(Signing::Recorded)
    }

    /// Revokes every certificate of an operator: also those that have ended, since clocks are sometimes set back.
    ///
    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::Form`].
    pub fn revoke_operator(&mut self, name: &OperatorName, by: &Asker) -> Result<Dismissal, StoreError> {
        let failed = StoreError::failed("revoke an operator");
        let transaction = self.begin(&failed)?;
        if is_revoked(&transaction, by.serial)? {
            return Ok(Dismissal::AskerRevoked);
        }
        let known = certificates(&transaction)?;
        if *name == by.name {
            let admin = |one: &OperatorCertificate| one.level == Level::Admin && one.holds(by.now);
            if !known.iter().any(|one| one.name != *name && admin(one)) {
                return Ok(Dismissal::LastAdmin);
            }
        }
        let (own, mut certificates) = (known.iter().filter(|one| one.name == *name), 0);
        if own.clone().next().is_none() {
            return Ok(Dismissal::Unknown);
        }
        for one in own {
            certificates += transaction
                .execute(
                    "INSERT INTO revoked_serials VALUES (?1, ?2) ON CONFLICT (serial) DO NOTHING",
                    params![one.serial.to_string(), signed(by.now_ms)],
                )
                .map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        Ok(Dismissal::Done { certificates })
    }
}

fn is_revoked(connection: &Connection, serial: Serial) -> Result<bool, StoreError> {
    connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM revoked_serials WHERE serial = ?1)",
            [serial.to_string()],
            |row| row.get(0),
        )
        .map_err(StoreError::failed("read the revocations"))
}

fn certificates(connection: &Connection) -> Result<Vec<OperatorCertificate>, StoreError> {
    const WHAT: &str = "list the operators";
    let failed = StoreError::failed(WHAT);
    let mut statement = connection
        .prepare(
            "SELECT role, serial, not_after, serial IN (SELECT serial FROM revoked_serials) FROM certificates \
             WHERE host IS NULL ORDER BY issued_ms, rowid",
        )
        .map_err(&failed)?;
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get(3)?))
        })
        .map_err(&failed)?;
    let mut all = Vec::new();
    for row in rows {
        let (role, serial, not_after, revoked) = row.map_err(&failed)?;
        match read(WHAT, &role)? {
            Role::Operator { name, level } => all.push(OperatorCertificate {
                name,
                level,
                serial: read(WHAT, &serial)?,
                not_after: UnixSeconds(u64::try_from(not_after).unwrap_or(0)),
                revoked,
            }),
            Role::Coordinator | Role::Host(_) => {}
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_identity::{Authority, PrivateKey};
    use std::time::Duration;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    struct Case {
        _dir: tempfile::TempDir,
        database: Database,
        authority: Authority,
    }

    impl Case {
        /// With the first admin, as `replank init` makes it.
        fn new() -> (Self, Asker) {
            let dir = tempfile::tempdir().unwrap();
            let database = Database::open(&dir.path().join("replank.db")).unwrap();
            let mut case = Self { _dir: dir, database, authority: Authority::create(NOW).unwrap() };
            let first = case.issue("first", Level::Admin);
            case.database.record_issued(std::slice::from_ref(&first), 1).unwrap();
            let by = asker(&first);
            (case, by)
        }

        fn issue(&self, name: &str, level: Level) -> Issued {
            let csr = PrivateKey::generate().unwrap().request().unwrap();
            let role = Role::Operator { name: named(name), level };
            self.authority.issue(&csr, &role, DAY, NOW).unwrap()
        }

        fn admit(&mut self, name: &str, level: Level, by: &Asker) -> (Issued, Signing) {
            let issued = self.issue(name, level);
            let signing = self.database.admit_operator(&issued, by).unwrap();
            (issued, signing)
        }

        fn revoke(&mut self, name: &str, by: &Asker) -> Dismissal {
            self.database.revoke_operator(&named(name), by).unwrap()
        }
    }

    fn named(name: &str) -> OperatorName {
        OperatorName::new(name).unwrap()
    }

    fn asker(issued: &Issued) -> Asker {
        let Role::Operator { name, .. } = issued.role.clone() else { panic!("{issued:?}") };
        Asker { name, serial: issued.serial, now: NOW, now_ms: 2 }
    }

    #[test]
    fn a_name_has_one_holder_until_its_certificates_are_revoked_or_over() {
        let (mut case, first) = Case::new();
        let (alice, signing) = case.admit("alice", Level::Viewer, &first);
        assert_eq!(signing, Signing::Recorded);
        assert!(
            matches!(case.admit("alice", Level::Admin, &first).1, Signing::Taken(one) if one.level == Level::Viewer)
        );
        let renewed = case.issue("alice", Level::Viewer);
        assert_eq!(case.database.renew_operator(&renewed, &asker(&alice)).unwrap(), Signing::Recorded);

        assert_eq!(case.revoke("alice", &first), Dismissal::Done { certificates: 2 });
        let revoked = case.database.revoked().unwrap().serials;
        assert_eq!(revoked, [alice.serial, renewed.serial].into());
        let again = case.issue("alice", Level::Viewer);
        assert_eq!(case.database.renew_operator(&again, &asker(&renewed)).unwrap(), Signing::AskerRevoked);
        assert_eq!(case.revoke("alice", &first), Dismissal::Done { certificates: 0 });
        assert_eq!(case.admit("alice", Level::Admin, &first).1, Signing::Recorded);

        let later = Asker { now: NOW.plus(DAY + DAY), ..first.clone() };
        assert_eq!(case.admit("alice", Level::Admin, &later).1, Signing::Recorded);
        assert_eq!(case.revoke("bob", &first), Dismissal::Unknown);
    }

    #[test]
    fn somebody_always_remains_who_can_make_operators() {
        let (mut case, first) = Case::new();
        case.admit("alice", Level::Operator, &first);
        assert_eq!(case.revoke("first", &first), Dismissal::LastAdmin);
        let second = asker(&case.admit("second", Level::Admin, &first).0);
        // Both at once: the one who comes second is an admin no more.
        assert_eq!(case.revoke("second", &first), Dismissal::Done { certificates: 1 });
        assert_eq!(case.revoke("first", &second), Dismissal::AskerRevoked);
        assert_eq!(case.admit("third", Level::Admin, &second).1, Signing::AskerRevoked);
        assert_eq!(case.revoke("first", &first), Dismissal::LastAdmin, "a revoked admin is none");
        case.admit("third", Level::Admin, &first);
        assert_eq!(case.revoke("first", &first), Dismissal::Done { certificates: 1 });
    }
}
