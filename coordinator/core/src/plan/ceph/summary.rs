//! What a voyage over a cluster is, in a few lines for people.

use super::ground::{Ground, Standing};
use super::waves::waves;
use crate::plan::model::PlannedOsdWaves;
use crate::plan::text::count;
use replank_common::ceph::CephKind;

/// `None` where every OSD runs the new release already.
pub(super) fn osd_waves(ground: &Ground<'_>) -> Option<PlannedOsdWaves> {
    let planned = u32::try_from(waves(ground).len()).unwrap_or(u32::MAX);
    (planned > 0).then_some(PlannedOsdWaves { planned, least: ground.waves.lower_bound.waves })
}

pub(super) fn summary(ground: &Ground<'_>) -> Vec<String> {
    let (hop, part, goal) = (ground.voyage.hop, ground.voyage.part, ground.voyage.goal);
    let mut lines = vec![
        format!(
            "Ceph {} → {} ({} → {}): every daemon is restarted once, on the new release, while clients read and write",
            hop.from, goal.version, part.releases.from, part.releases.to
        ),
        format!("the order: {}", part.order.why),
        format!("{} asks the cluster and changes what belongs to all of it", ground.via),
    ];
    let waves = waves(ground);
    if !waves.is_empty() {
        let osds: usize = waves.iter().map(|wave| wave.osds().len()).sum();
        let extra = waves.len().saturating_sub(ground.waves.waves.len());
        let mut line = format!(
            "{} in {}; no sequence of whole failure domains has fewer than {}",
            count(osds, "OSD"),
            count(waves.len(), "wave"),
            ground.waves.lower_bound.waves
        );
        if extra > 0 {
            line.push_str(&format!(", and the canary and the pace make {extra} more"));
        }
        lines.push(line);
    }
    for name in &goal.consent {
        lines.push(format!(
            "accepted in the fleet file: the thin redundancy of the pool {name}, for the while"
        ));
    }
    let done = ground.daemons.iter().filter(|placed| placed.standing == Standing::New).count();
    if done > 0 {
        let kinds: Vec<String> = CephKind::ALL
            .into_iter()
            .filter_map(|kind| {
                let of_kind = |placed: &&super::ground::Placed<'_>| {
                    placed.daemon().kind == kind && placed.standing == Standing::New
                };
                let number = ground.daemons.iter().filter(of_kind).count();
                (number > 0).then(|| format!("{number} {}", kind.as_str()))
            })
            .collect();
        lines.push(format!("left alone, for they run {} already: {}", goal.version, kinds.join(", ")));
    }
    lines
}
