//! Operators' certificates: made, listed, revoked, renewed.
//!
//! Keys are made here and never travel. Every file of `add` has its place before the coordinator is asked, so that a certificate is not lost
//! for want of one.
//!
//! | a crash of `add` | what is left |
//! | --- | --- |
//! | before the answer | nothing here; the coordinator may know a certificate that nobody has the key of: revoke the name, add it again |
//! | between two files | the identity file comes last: without it the others open no door |
//!
//! A crash of `renew` leaves the old file or the new one, and both are good.

use super::args::OperatorAddArgs;
use super::connect::{Asks, Coordinator};
use super::failure::{Failure, chain};
use super::files::{self, NewFile, folder_of, shell_word};
use super::output::{Output, table};
use super::settings::{self, Operator};
use crate::config::OperatorSettings;
use replank_core::gate::utc;
use replank_identity::{
    AuthorityCert, BadCredentials, Credentials, Csr, OperatorName, PrivateKey, Role, UnixSeconds,
};
use replank_proto::v1::{
    IssueOperatorRequest, ListOperatorsRequest, OperatorStatus, RenewOperatorRequest, RevokeOperatorRequest,
};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The authority's certificate beside the settings that `--settings` writes.
const AUTHORITY: &str = "authority.pem";
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Makes a key, has it signed and writes what the new operator needs.
///
/// # Errors
/// A file is in the way; as the coordinator refuses.
pub async fn add(out: Output, own: &Operator, args: &OperatorAddArgs) -> Result<(), Failure> {
    distinct(args)?;
    let identity = NewFile::at(&args.output, PRIVATE)?;
    let credentials = own.credentials.current();
    let settings = settings_for(own, args)?;
    let written =
        args.settings.as_deref().map(|path| handed_over(path, credentials.authority())).transpose()?;

    let (key, csr) = request()?;
    let coordinator = Coordinator::dial(own).await?;
    let request = IssueOperatorRequest {
        name: args.name.to_string(),
        level: args.level.to_string(),
        csr: csr.der().to_vec(),
    };
    let asks = Asks::Changes(
        "see `replank operator list`; if the name is there, `replank operator revoke` it and add it again",
    );
    let answer = coordinator.client().issue_operator(Coordinator::request(request)).await;
    let chain = answer.map_err(|status| coordinator.failure(asks, &status))?.into_inner().certificate_chain;
    let new = Credentials::new(&chain, &key, credentials.authority(), settings::now()).map_err(unusable)?;
    let role = Role::Operator { name: args.name.clone(), level: args.level };
    if new.identity().role != role {
        return Err(unusable(BadCredentials::OtherRole { own: role, found: new.identity().role.clone() }));
    }
    let text = toml::to_string(&settings).map_err(|error| Failure::Unexpected(error.to_string()))?;
    for (file, text) in written.into_iter().flat_map(|written| written.with(&text, credentials.authority())) {
        file.keep(text.as_bytes())?;
    }
    identity.keep(identity_text(&key, &chain).as_bytes())?;
    added(out, own, args, &settings, new.identity().validity.not_after)
}

fn added(
    out: Output,
    own: &Operator,
    args: &OperatorAddArgs,
    settings: &OperatorSettings,
    until: UnixSeconds,
) -> Result<(), Failure> {
    let (name, level, file) = (&args.name, args.level, args.output.display());
    if out.json {
        return out.document(&json!({
            "operator": name,
            "level": level,
            "identity": args.output,
            "certificate_expires_at_ms": until.0.saturating_mul(1_000),
            "settings": args.settings,
            "operator_toml": settings,
        }));
    }
    out.note(&format!("{name}, {level}, until {until}: key and certificate are in `{file}`"));
    match &args.settings {
        Some(path) => {
            out.note(&format!(
                "the settings are in `{}`; hand both over with the {AUTHORITY} beside them",
                path.display()
            ));
            out.data(&format!("export REPLANK_CONFIG={}\n", shell_word(&path.display().to_string())))
        }
        None => {
            out.note(&format!(
                "hand it over with `{}` and these settings, as operator.toml:",
                own.authority.display()
            ));
            let text = toml::to_string(settings).map_err(|error| Failure::Unexpected(error.to_string()))?;
            out.data(&text)
        }
    }
}

/// Two files of one name would be told only after the coordinator was asked.
fn distinct(args: &OperatorAddArgs) -> Result<(), Failure> {
    let Some(settings) = &args.settings else { return Ok(()) };
    let beside = folder_of(settings).join(AUTHORITY);
    let names = [args.output.as_path(), settings, &beside];
    let place = |path: &Path| folder_of(path).join(path.file_name().unwrap_or_default());
    let same = |a: &Path, b: &Path| place(a) == place(b);
    match names {
        [a, b, c] if same(a, b) || same(a, c) || same(b, c) => Err(Failure::Taken { path: settings.clone() }),
        _ => Ok(()),
    }
}

/// The settings of the new operator. Files of one folder are named as such: the folder can be moved.
fn settings_for(own: &Operator, args: &OperatorAddArgs) -> Result<OperatorSettings, Failure> {
    let failed = |path: &Path, source| Failure::Write { path: path.to_owned(), source };
    let name = args.output.file_name().map_or_else(|| args.output.clone(), PathBuf::from);
    let identity = match &args.settings {
        None => name,
        Some(settings) => {
            let folder =
                |path: &Path| std::fs::canonicalize(folder_of(path)).map_err(|error| failed(path, error));
            let (there, here) = (folder(&args.output)?, folder(settings)?);
            if there == here { name } else { there.join(name) }
        }
    };
    Ok(OperatorSettings { coordinator: own.coordinator.clone(), authority: AUTHORITY.into(), identity })
}

/// What is written beside a new identity file.
#[derive(Debug)]
struct HandedOver {
    settings: NewFile,
    /// `None`: it is there, as the very same.
    authority: Option<NewFile>,
}

/// The places for `--settings`.
fn handed_over(settings: &Path, own: &AuthorityCert) -> Result<HandedOver, Failure> {
    let path = folder_of(settings).join(AUTHORITY);
    let there = replank_identity::files::read_certificate(&path).ok();
    let same = there
        .and_then(|pem| AuthorityCert::from_pem(&pem).ok())
        .is_some_and(|there| there.fingerprint() == own.fingerprint());
    let authority = if same { None } else { Some(NewFile::at(&path, PUBLIC)?) };
    Ok(HandedOver { settings: NewFile::at(settings, PUBLIC)?, authority })
}

impl HandedOver {
    fn with(self, settings: &str, own: &AuthorityCert) -> Vec<(NewFile, String)> {
        let authority = self.authority.map(|file| (file, own.to_pem()));
        [(self.settings, settings.to_owned())].into_iter().chain(authority).collect()
    }
}

/// Renews the own certificate, with a new key.
///
/// # Errors
/// As the coordinator refuses; the identity file cannot be written. The old one is as it was then, and as good.
pub async fn renew(out: Output, own: &Operator) -> Result<(), Failure> {
    let (key, csr) = request()?;
    let coordinator = Coordinator::dial(own).await?;
    let request = Coordinator::request(RenewOperatorRequest { csr: csr.der().to_vec() });
    let asks = Asks::Changes("renew again: the certificate that was lost opens nothing without its key");
    let answer = coordinator.client().renew_operator(request).await;
    let chain = answer.map_err(|status| coordinator.failure(asks, &status))?.into_inner().certificate_chain;
    // Refuses another name or level.
    let new = own.credentials.publish(&chain, &key, settings::now()).map_err(unusable)?;
    files::replace_private(&own.identity, identity_text(&key, &chain).as_bytes())?;
    let until = new.identity().validity.not_after;
    if out.json {
        return out.document(&json!({
            "identity": own.identity,
            "certificate_expires_at_ms": until.0.saturating_mul(1_000),
        }));
    }
    out.note(&format!("renewed until {until}, in `{}`", own.identity.display()));
    Ok(())
}

/// # Errors
/// As the coordinator refuses.
pub async fn list(out: Output, coordinator: &Coordinator) -> Result<(), Failure> {
    let answer = coordinator.client().list_operators(Coordinator::request(ListOperatorsRequest {})).await;
    let operators =
        answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner().operators;
    let now = settings::now();
    if out.json {
        let json = |one: &OperatorStatus| {
            json!({
                "name": one.name,
                "level": one.level,
                "state": state(one, now),
                "certificate_expires_at_ms": one.certificate_expires_at_ms,
            })
        };
        return out.document(&json!({ "operators": operators.iter().map(json).collect::<Vec<_>>() }));
    }
    let row = |one: &OperatorStatus| {
        vec![
            one.name.clone(),
            one.level.clone(),
            state(one, now).to_owned(),
            utc(one.certificate_expires_at_ms),
        ]
    };
    out.data(&table(
        &["operator", "level", "state", "certificate until"],
        operators.iter().map(row).collect(),
        &[],
    ))
}

fn state(one: &OperatorStatus, now: UnixSeconds) -> &'static str {
    if one.revoked {
        "revoked"
    } else if UnixSeconds::from_ms(one.certificate_expires_at_ms) < now {
        "ended"
    } else {
        "good"
    }
}

/// # Errors
/// As the coordinator refuses.
pub async fn revoke(out: Output, coordinator: &Coordinator, name: &OperatorName) -> Result<(), Failure> {
    let request = Coordinator::request(RevokeOperatorRequest { name: name.to_string() });
    let asks = Asks::Changes("see `replank operator list`, and revoke again if it is not revoked");
    let answer = coordinator.client().revoke_operator(request).await;
    answer.map_err(|status| coordinator.failure(asks, &status))?;
    if out.json {
        return out.document(&json!({ "operator": name, "revoked": true }));
    }
    out.note(&format!("{name} is revoked; `replank operator add {name}` would let the name in again"));
    Ok(())
}

fn request() -> Result<(PrivateKey, Csr), Failure> {
    let made = PrivateKey::generate().and_then(|key| key.request().map(|csr| (key, csr)));
    made.map_err(|error| Failure::Unexpected(format!("failed to make a key: {}", chain(&error))))
}

fn unusable(error: BadCredentials) -> Failure {
    Failure::Answer { what: "the certificate request", why: chain(&error) }
}

/// As `replank_identity::files` reads it: the key, then the chain.
fn identity_text(key: &PrivateKey, chain: &str) -> String {
    format!("{}\n{chain}", key.to_pem().trim_end())
}
