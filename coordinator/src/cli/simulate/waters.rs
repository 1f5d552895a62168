//! The simulated cluster in words: what it is made of and where that is from, and what became of it.

use crate::cli::failure::count;
use replank_core::run::report::Tally;
use replank_sim::{Afloat, Origin, Voyage};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Names of one kind that are told.
const NAMED: usize = 8;

/// What it was made of, and what of it was made up.
pub(super) fn head(cluster: &Afloat) -> String {
    let mut parts = vec![
        format!("{} in {}", count(cluster.osds, "OSD"), count(cluster.domains, "failure domain")),
        count(cluster.mons, "MON"),
    ];
    for (number, what) in [(cluster.managers, "manager"), (cluster.others, "MDS or gateway")] {
        if number > 0 {
            parts.push(count(number, what));
        }
    }
    let laid = format!("{} of {}", count(cluster.groups, "placement group"), count(cluster.pools, "pool"));
    let mut text = format!("  a Ceph cluster of {}; {laid}\n", parts.join(", "));
    match &cluster.origin {
        Origin::Inventory { groups } if *groups > cluster.groups => {
            let _ = writeln!(
                text,
                "  all as the inventory has it, where it has it; of its {groups} placement groups each {}th is there",
                groups.div_ceil(cluster.groups.max(1))
            );
        }
        Origin::Inventory { .. } => text.push_str("  all as the inventory has it, where it has it\n"),
        Origin::Plan { stand_ins } => {
            text.push_str(
                "  the daemons, their hosts and what stops together are the plan's; it does not name pools and placement groups, so these\n  \
                 are made up and laid by the seed, no two copies where OSDs stop together; for the real ones give --inventory\n",
            );
            if !stand_ins.is_empty() {
                let _ = writeln!(
                    text,
                    "  made up too, for daemons that are done already and that it does not name: {}",
                    named(stand_ins)
                );
            }
        }
        Origin::Drawn => text.push_str("  made up by the seed\n"),
    }
    text
}

/// What became of it.
pub(super) fn end(cluster: &Afloat) -> String {
    let mut parts = vec![format!("{} of {} daemons run {}", cluster.renewed, cluster.daemons, cluster.to)];
    if !cluster.down.is_empty() {
        parts.push(format!("not running: {}", named(&cluster.down)));
    }
    parts.push(if cluster.unclean.is_empty() {
        "every placement group is clean".to_owned()
    } else {
        format!(
            "{} of {} groups are not clean: {}",
            cluster.unclean.len(),
            cluster.groups,
            named(&cluster.unclean)
        )
    });
    parts.push(if cluster.lost.is_empty() {
        "no acknowledged write is lost".to_owned()
    } else {
        // Deaths that no redundancy bears; what the run is to blame for is a broken promise.
        format!(
            "more OSDs died by themselves than copies bear, and writes are lost in {}",
            named(&cluster.lost)
        )
    });
    format!("  cluster: {}\n", parts.join("; "))
}

/// Whether there was anything to say of guests.
pub(super) fn has_guests(voyage: &Voyage) -> bool {
    voyage.cluster.is_none()
        || voyage.guests > 0
        || voyage.tally.is_some_and(|tally| tally != Tally::default())
}

fn named(names: &[String]) -> String {
    let mut text = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        let _ = write!(text, " and {} more", names.len() - NAMED);
    }
    text
}

/// What it was made of, for machines.
pub(super) fn made(cluster: &Afloat) -> Value {
    let (origin, stand_ins, in_all) = match &cluster.origin {
        Origin::Drawn => ("seed", None, None),
        Origin::Plan { stand_ins } => ("plan", Some(stand_ins), None),
        Origin::Inventory { groups } => ("inventory", None, Some(groups)),
    };
    json!({
        "from": origin,
        "stand_ins": stand_ins,
        "osds": cluster.osds,
        "failure_domains": cluster.domains,
        "mons": cluster.mons,
        "managers": cluster.managers,
        "mds_and_gateways": cluster.others,
        "pools": cluster.pools,
        "groups": cluster.groups,
        "groups_in_inventory": in_all,
    })
}

/// And what became of it.
pub(super) fn json(cluster: &Afloat) -> Value {
    json!({
        "made": made(cluster),
        "to": cluster.to,
        "daemons": cluster.daemons,
        "daemons_renewed": cluster.renewed,
        "daemons_down": cluster.down,
        "groups_unclean": cluster.unclean,
        "groups_with_lost_writes": cluster.lost,
    })
}
