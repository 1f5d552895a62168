//! `replank ceph …`: what of a Ceph cluster may stop, from its documents alone. No cluster is asked.

use super::args::{CephFiles, SafeToStopArgs, WavesArgs};
use super::failure::Failure;
use super::files;
use super::output::Output;
use replank_ceph::documents::{OsdDump, OsdTree, PgDump, QuorumStatus};
use replank_ceph::quorum::Machines;
use replank_ceph::redundancy::{Answer, Consents, Objection, Redundancy, consents, show_verdict, stop_set};
use replank_ceph::waves::{plan_waves, show_waves};
use std::path::Path;

/// The documents that were named.
struct Documents {
    osds: OsdDump,
    pgs: PgDump,
    tree: Option<OsdTree>,
    quorum: Option<QuorumStatus>,
    consents: Consents,
}

impl Documents {
    fn read(files: &CephFiles) -> Result<Self, Failure> {
        let osds = read("OSD map", &files.osd_dump, OsdDump::read)?;
        let pgs = read("list of placement groups", &files.pg_dump, PgDump::read)?;
        let tree = files.osd_tree.as_deref().map(|path| read("OSD tree", path, OsdTree::read)).transpose()?;
        let quorum = files.quorum.as_deref();
        let quorum = quorum.map(|path| read("quorum status", path, QuorumStatus::read)).transpose()?;
        let consents = consents(&osds, &files.consent)?;
        Ok(Self { osds, pgs, tree, quorum, consents })
    }

    /// What was not looked at, said on standard error.
    fn caveats(&self, out: Output) {
        if self.pgs.is_brief() {
            out.note(
                "the list of placement groups is brief: reports from before a restart cannot be told from those after it",
            );
        }
        if self.quorum.is_none() {
            out.note("MONs were not looked at: give the output of `ceph quorum_status --format json` with --quorum");
        }
    }
}

fn read<T>(
    what: &'static str,
    path: &Path,
    parse: impl FnOnce(&str, &[u8]) -> Result<T, replank_ceph::documents::DocumentError>,
) -> Result<T, Failure> {
    let bytes = files::read(what, path)?;
    Ok(parse(&path.display().to_string(), &bytes)?)
}

/// Says whether the set may stop.
///
/// # Errors
/// [`Failure::NotSafe`] and [`Failure::CannotTell`] with the reasons shown; a document that cannot be used, a name that it does not have.
pub fn safe_to_stop(out: Output, args: &SafeToStopArgs) -> Result<(), Failure> {
    let documents = Documents::read(&args.files)?;
    let set = stop_set(&documents.osds, documents.quorum.as_ref(), &args.daemons)?;
    let machines = Machines::new(&documents.osds, documents.tree.as_ref());
    let redundancy = Redundancy::new(&documents.osds, &documents.pgs, &documents.consents);
    let verdict = redundancy.judge(&set, documents.quorum.as_ref().map(|quorum| (quorum, &machines)));
    documents.caveats(out);
    if out.json {
        out.document(&verdict)?;
    } else {
        out.data(&show_verdict(&verdict))?;
    }
    match verdict.answer {
        Answer::Safe => Ok(()),
        Answer::NotSafe => Err(Failure::NotSafe),
        Answer::CannotTell => Err(Failure::CannotTell),
    }
}

/// Shows all waves, with the least number that any sequence has.
///
/// # Errors
/// [`Failure::NotSafe`] and [`Failure::CannotTell`] when an OSD is in no wave, with the reasons shown; a document that cannot be used.
pub fn waves(out: Output, args: &WavesArgs) -> Result<(), Failure> {
    let documents = Documents::read(&args.files)?;
    let redundancy = Redundancy::new(&documents.osds, &documents.pgs, &documents.consents);
    let (tree, quorum) = (documents.tree.as_ref(), documents.quorum.as_ref());
    let plan = plan_waves(&redundancy, &documents.osds, tree, quorum, None);
    documents.caveats(out);
    if out.json {
        out.document(&plan)?;
    } else {
        out.data(&show_waves(&plan))?;
    }
    match plan.objections.iter().any(Objection::certain) {
        true => Err(Failure::NotSafe),
        false if plan.objections.is_empty() => Ok(()),
        false => Err(Failure::CannotTell),
    }
}
