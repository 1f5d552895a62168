//! Who belongs: join tokens, certificates issued, and who was revoked.

use super::database::signed;
use super::{Database, StoreError};
use replank_common::UnixMs;
use replank_common::ids::HostName;
use replank_identity::token::TokenId;
use replank_identity::{Issued, RevokedSet, Role, Serial, TokenRecord};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

/// A certificate of the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub host: HostName,
    pub serial: Serial,
    /// The last second of its life.
    pub not_after_s: u64,
}

/// Whether a token's first use was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It was unused, and the certificate is recorded with it.
    Won,
    /// Somebody used it in between; nothing was recorded.
    Lost,
}

impl Database {
    /// Keeps a new token. Of a revoked host, this is how an admin lets it in again: the host's old certificates stay revoked one
    /// by one.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn put_token(&mut self, token: &TokenRecord, now_ms: UnixMs) -> Result<(), StoreError> {
        let failed = StoreError::failed("store a join token");
        let record = json("store a join token", token)?;
        let host = token.host.as_str();
        let transaction = self.begin(&failed)?;
        transaction
            .execute("INSERT INTO tokens VALUES (?1, ?2, 0, ?3)", params![token.id.to_string(), host, record])
            .map_err(&failed)?;
        let readmitted =
            transaction.execute("DELETE FROM revoked_hosts WHERE host = ?1", [host]).map_err(&failed)?;
        if readmitted > 0 {
            transaction
                .execute(
                    "INSERT INTO revoked_serials SELECT serial, ?2 FROM certificates WHERE host = ?1 \
                     ON CONFLICT (serial) DO NOTHING",
                    params![host, signed(now_ms)],
                )
                .map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)
    }

    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::Form`].
    pub fn token(&self, id: TokenId) -> Result<Option<TokenRecord>, StoreError> {
        const WHAT: &str = "read a join token";
        let text: Option<String> = self
            .connection
            .query_row("SELECT record FROM tokens WHERE id = ?1", [id.to_string()], |row| row.get(0))
            .optional()
            .map_err(StoreError::failed(WHAT))?;
        text.map(|text| {
            serde_json::from_str(&text)
                .map_err(|error| StoreError::Form { what: WHAT, why: error.to_string() })
        })
        .transpose()
    }

    /// Writes a token's first use and the certificate that it admits in one, if the token is still unused and the host was not
    /// revoked meanwhile. Only then may the certificate leave.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; the certificate must not leave then.
    pub fn claim_token(
        &mut self,
        used: &TokenRecord,
        issued: &Issued,
        now_ms: UnixMs,
    ) -> Result<Claim, StoreError> {
        const WHAT: &str = "record the use of a join token";
        let failed = StoreError::failed(WHAT);
        let record = json(WHAT, used)?;
        let transaction = self.begin(&failed)?;
        let changed = transaction
            .execute(
                "UPDATE tokens SET used = 1, record = ?2 WHERE id = ?1 AND used = 0 \
                 AND host NOT IN (SELECT host FROM revoked_hosts)",
                params![used.id.to_string(), record],
            )
            .map_err(&failed)?;
        if changed != 1 {
            return Ok(Claim::Lost);
        }
        insert_issued(&transaction, issued, now_ms)?;
        transaction.commit().map_err(&failed)?;
        Ok(Claim::Won)
    }

    /// Records certificates before they leave.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; they must not leave then.
    pub fn record_issued(&mut self, issued: &[Issued], now_ms: UnixMs) -> Result<(), StoreError> {
        let failed = StoreError::failed("record a certificate");
        let transaction = self.begin(&failed)?;
        for one in issued {
            insert_issued(&transaction, one, now_ms)?;
        }
        transaction.commit().map_err(&failed)
    }

    /// The newest certificate of each host that ever had one, by host.
    ///
    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::Form`].
    pub fn hosts(&self) -> Result<Vec<Certificate>, StoreError> {
        const WHAT: &str = "list the hosts";
        let failed = StoreError::failed(WHAT);
        let mut statement = self
            .connection
            .prepare(
                "SELECT host, serial, max(not_after) FROM certificates WHERE host IS NOT NULL GROUP BY host ORDER BY host",
            )
            .map_err(&failed)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
            })
            .map_err(&failed)?;
        let mut hosts = Vec::new();
        for row in rows {
            let (host, serial, not_after) = row.map_err(&failed)?;
            hosts.push(Certificate {
                host: read(WHAT, &host)?,
                serial: read(WHAT, &serial)?,
                not_after_s: u64::try_from(not_after).unwrap_or(0),
            });
        }
        Ok(hosts)
    }

    /// Revokes a host with all its certificates, and voids the tokens made for it. Whether the host was known.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn revoke_host(&mut self, host: &HostName, by: &str, now_ms: UnixMs) -> Result<bool, StoreError> {
        let failed = StoreError::failed("revoke a host");
        let transaction = self.begin(&failed)?;
        let known: bool = transaction
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM certificates WHERE host = ?1) OR EXISTS (SELECT 1 FROM tokens WHERE host = ?1)",
                [host.as_str()],
                |row| row.get(0),
            )
            .map_err(&failed)?;
        if known {
            transaction.execute("DELETE FROM tokens WHERE host = ?1", [host.as_str()]).map_err(&failed)?;
            transaction
                .execute(
                    "INSERT INTO revoked_hosts VALUES (?1, ?2, ?3) ON CONFLICT (host) DO NOTHING",
                    params![host.as_str(), by, signed(now_ms)],
                )
                .map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        Ok(known)
    }

    /// Everything that is revoked.
    ///
    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::Form`].
    pub fn revoked(&self) -> Result<RevokedSet, StoreError> {
        const WHAT: &str = "read the revocations";
        let mut set = RevokedSet::default();
        for text in self.texts(WHAT, "SELECT host FROM revoked_hosts")? {
            set.hosts.insert(read(WHAT, &text)?);
        }
        for text in self.texts(WHAT, "SELECT serial FROM revoked_serials")? {
            set.serials.insert(read(WHAT, &text)?);
        }
        Ok(set)
    }

    fn texts(&self, what: &'static str, query: &str) -> Result<Vec<String>, StoreError> {
        let failed = StoreError::failed(what);
        let mut statement = self.connection.prepare(query).map_err(&failed)?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(&failed)?;
        rows.collect::<Result<_, _>>().map_err(&failed)
    }

    pub(super) fn begin(
        &mut self,
        failed: &impl Fn(rusqlite::Error) -> StoreError,
    ) -> Result<Transaction<'_>, StoreError> {
        self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
    }
}

pub(super) fn insert_issued(
    transaction: &Transaction<'_>,
    issued: &Issued,
    now_ms: UnixMs,
) -> Result<(), StoreError> {
    let host = match &issued.role {
        Role::Host(host) => Some(host.as_str()),
        Role::Operator { .. } | Role::Coordinator => None,
    };
    transaction
        .execute(
            "INSERT INTO certificates VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                issued.serial.to_string(),
                issued.role.to_string(),
                host,
                issued.fingerprint.to_string(),
                signed(issued.validity.not_before.0),
                signed(issued.validity.not_after.0),
                signed(now_ms)
            ],
        )
        .map_err(StoreError::failed("record a certificate"))?;
    Ok(())
}

fn json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Form { what, why: error.to_string() })
}

pub(super) fn read<T>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| StoreError::Form { what, why: format!("`{text}`: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_identity::token::Used;
    use replank_identity::{Authority, JoinToken, PrivateKey, UnixSeconds};
    use std::time::Duration;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    struct Case {
        _dir: tempfile::TempDir,
        database: Database,
        authority: Authority,
        host: HostName,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let database = Database::open(&dir.path().join("replank.db")).unwrap();
            let authority = Authority::create(NOW).unwrap();
            Self { _dir: dir, database, authority, host: HostName::new("compute1").unwrap() }
        }

        fn token(&mut self) -> TokenRecord {
            let token = JoinToken::generate(self.authority.fingerprint()).unwrap();
            let record = token.record(self.host.clone(), NOW, DAY);
            self.database.put_token(&record, 1).unwrap();
            record
        }

        fn issue(&self) -> Issued {
            let csr = PrivateKey::generate().unwrap().request().unwrap();
            self.authority.issue(&csr, &Role::Host(self.host.clone()), DAY, NOW).unwrap()
        }

        fn claim(&mut self, token: &TokenRecord, issued: &Issued) -> Claim {
            let used = Some(Used { at: NOW, key: issued.fingerprint });
            self.database.claim_token(&TokenRecord { used, ..token.clone() }, issued, 2).unwrap()
        }
    }

    #[test]
    fn a_token_is_claimed_once() {
        let mut case = Case::new();
        let token = case.token();
        let (first, second) = (case.issue(), case.issue());
        assert_eq!(case.claim(&token, &first), Claim::Won);
        assert_eq!(case.claim(&token, &second), Claim::Lost);
        let stored = case.database.token(token.id).unwrap().unwrap();
        assert_eq!(stored.used.unwrap().key, first.fingerprint);
        let hosts = case.database.hosts().unwrap();
        assert_eq!(hosts.len(), 1);
        assert_eq!(hosts[0].serial, first.serial);
    }

    #[test]
    fn revoking_voids_tokens_and_a_new_token_readmits_without_the_old_certificates() {
        let mut case = Case::new();
        let (used, unused) = (case.token(), case.token());
        let old = case.issue();
        assert_eq!(case.claim(&used, &old), Claim::Won);
        let host = case.host.clone();
        assert!(case.database.revoke_host(&host, "alice", 3).unwrap());
        assert!(case.database.revoked().unwrap().hosts.contains(&host));
        let again = case.issue();
        assert_eq!(case.claim(&unused, &again), Claim::Lost);

        case.token();
        let set = case.database.revoked().unwrap();
        assert!(set.hosts.is_empty() && set.serials.contains(&old.serial));
        assert_eq!(case.claim(&unused, &again), Claim::Lost, "tokens from before stay void");
        assert!(!case.database.revoke_host(&HostName::new("stranger").unwrap(), "alice", 4).unwrap());
    }
}
