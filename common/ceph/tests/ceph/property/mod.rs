//! Random clusters, healthy and troubled: the fast answer is the one that the definition gives, and no wave count is below its bound or above what it need be.
//!
//! `cluster` makes clusters and their documents; `definition` reads the same documents with other eyes and answers by going through all groups,
//! with none of the library's code.

mod cluster;
mod definition;

use cluster::{Cluster, Shape};
use definition::Word;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use replank_ceph::OsdId;
use replank_ceph::documents::{OsdDump, OsdTree, PgDump, QuorumStatus};
use replank_ceph::quorum::Machines;
use replank_ceph::redundancy::{Answer, Consents, Objection, Redundancy, StopSet};
use replank_ceph::waves::{WavePlan, plan_waves};
use std::collections::{BTreeMap, BTreeSet};

/// A cluster as the library reads it.
struct Read {
    osds: OsdDump,
    pgs: PgDump,
    tree: OsdTree,
    quorum: Option<QuorumStatus>,
    consents: Consents,
}

impl Read {
    fn new(cluster: &Cluster) -> Self {
        let osds = OsdDump::read("osd", cluster.osds.to_string().as_bytes()).unwrap();
        let pgs = PgDump::read("pg", cluster.pgs.to_string().as_bytes()).unwrap();
        let tree = OsdTree::read("tree", cluster.tree.to_string().as_bytes()).unwrap();
        let read =
            |status: &serde_json::Value| QuorumStatus::read("mon", status.to_string().as_bytes()).unwrap();
        let quorum = cluster.quorum.as_ref().map(read);
        let consents = cluster.consents.iter().map(|pool| osds.pool(pool).unwrap().id).collect();
        Self { osds, pgs, tree, quorum, consents }
    }

    fn redundancy(&self) -> Redundancy<'_> {
        Redundancy::new(&self.osds, &self.pgs, &self.consents)
    }

    fn waves(&self) -> WavePlan {
        plan_waves(&self.redundancy(), &self.osds, Some(&self.tree), self.quorum.as_ref(), None)
    }
}

fn word(answer: Answer) -> Word {
    match answer {
        Answer::Safe => Word::Yes,
        Answer::NotSafe => Word::No,
        Answer::CannotTell => Word::CannotTell,
    }
}

/// A few OSDs, a machine, a rack, or some machines.
fn random_set(cluster: &Cluster, rng: &mut StdRng) -> BTreeSet<u32> {
    let any = |rng: &mut StdRng| *cluster.machines.choose(rng).unwrap().choose(rng).unwrap();
    match rng.random_range(0..6) {
        0..3 => (0..rng.random_range(1..4)).map(|_| any(rng)).collect(),
        3 => cluster.machines.choose(rng).unwrap().iter().copied().collect(),
        4 => {
            let per_rack = cluster.machines.len().div_ceil(cluster.shape.racks as usize);
            cluster
                .machines
                .chunks(per_rack)
                .collect::<Vec<_>>()
                .choose(rng)
                .unwrap()
                .concat()
                .into_iter()
                .collect()
        }
        _ => (0..2).flat_map(|_| cluster.machines.choose(rng).unwrap().clone()).collect(),
    }
}

fn agree(shape: Shape) {
    let cluster = Cluster::new(shape);
    let read = Read::new(&cluster);
    let (redundancy, machines) = (read.redundancy(), Machines::new(&read.osds, Some(&read.tree)));
    let mut rng = StdRng::seed_from_u64(shape.seed ^ 1);
    for _ in 0..12 {
        let osds = random_set(&cluster, &mut rng);
        let set = StopSet { osds: osds.iter().copied().map(OsdId).collect(), ..StopSet::default() };
        let verdict = redundancy.judge(&set, read.quorum.as_ref().map(|quorum| (quorum, &machines)));
        let defined = definition::may_stop(&cluster, &osds);
        assert_eq!(word(verdict.answer), defined, "{osds:?} of {cluster:#?}\n{verdict:#?}");
    }
}

/// Waves are sets that may stop, hold each OSD once, and are not fewer than the bound.
fn waves_hold(shape: Shape) -> (u32, u32) {
    let cluster = Cluster::new(shape);
    let plan = Read::new(&cluster).waves();
    let mut seen: BTreeSet<OsdId> = plan.left_out.iter().copied().collect();
    for wave in &plan.waves {
        let osds: BTreeSet<u32> = wave.osds.iter().map(|osd| osd.0).collect();
        assert_eq!(definition::may_stop(&cluster, &osds), Word::Yes, "{wave:?} of {cluster:#?}");
        assert!(wave.osds.iter().all(|osd| seen.insert(*osd)), "{plan:#?}");
    }
    // One OSD of which the standing is not told stops all others, though it might stop itself.
    let objected = |osd: OsdId| plan.objections.contains(&Objection::OsdUnclear { osd });
    for osd in &plan.stuck {
        let alone = definition::may_stop(&cluster, &BTreeSet::from([osd.0]));
        assert!(alone != Word::Yes || objected(*osd), "{osd}: {plan:#?}");
        assert!(seen.insert(*osd), "{plan:#?}");
    }
    let all: BTreeSet<OsdId> = cluster.machines.iter().flatten().copied().map(OsdId).collect();
    assert!(plan.waves.is_empty() || seen == all, "{seen:?} of {all:?}");
    let waves = u32::try_from(plan.waves.len()).unwrap();
    assert!(plan.lower_bound.waves <= waves, "{plan:#?}");
    if let Some(fewest) = fewest(&cluster, &plan) {
        assert!(plan.lower_bound.waves <= fewest && fewest <= waves, "{fewest} of {plan:#?}\n{cluster:#?}");
    }
    (waves, plan.lower_bound.waves)
}

/// The fewest waves of whole units, by trying every way to divide them; for few units.
fn fewest(cluster: &Cluster, plan: &WavePlan) -> Option<u32> {
    let units: Vec<&String> = plan.waves.iter().flat_map(|wave| &wave.units).collect();
    if units.is_empty() || units.len() > 6 {
        return None;
    }
    let osds = |unit: &str| -> BTreeSet<u32> {
        let number = |prefix: &str| unit.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok());
        let per_rack = cluster.shape.machines as usize;
        // What is down and empty does not count, and stopping it changes nothing.
        match (number("osd."), number("rack"), number("m")) {
            (Some(osd), ..) => BTreeSet::from([u32::try_from(osd).unwrap()]),
            (_, Some(rack), _) => {
                cluster.machines[rack * per_rack..][..per_rack].concat().into_iter().collect()
            }
            (.., Some(machine)) => cluster.machines[machine].iter().copied().collect(),
            _ => cluster.machines.concat().into_iter().collect(),
        }
    };
    let mut may: BTreeMap<u32, bool> = BTreeMap::new();
    for set in 1..1_u32 << units.len() {
        let members =
            (0..units.len()).filter(|unit| set >> unit & 1 == 1).flat_map(|unit| osds(units[unit])).collect();
        may.insert(set, definition::may_stop(cluster, &members) == Word::Yes);
    }
    // `best[done]`: the fewest waves that stop the units in `done`.
    let mut best: BTreeMap<u32, u32> = BTreeMap::from([(0, 0)]);
    for done in 1..1_u32 << units.len() {
        let last = |(set, safe): (&u32, &bool)| {
            (*safe && done & set == *set).then(|| best.get(&(done & !set))).flatten()
        };
        if let Some(waves) = may.iter().filter_map(last).min() {
            let waves = waves + 1;
            best.insert(done, waves);
        }
    }
    best.get(&((1 << units.len()) - 1)).copied()
}

fn shapes(troubled: bool) -> impl Strategy<Value = Shape> {
    (1_u32..5, 1_u32..5, 1_u32..4, 1_u32..4, any::<u64>()).prop_map(
        move |(racks, machines, osds, pools, seed)| Shape { racks, machines, osds, pools, troubled, seed },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_answer_is_the_one_that_the_definition_gives(shape in shapes(true)) {
        agree(shape);
    }

    #[test]
    fn a_healthy_cluster_is_answered_as_the_definition_does(shape in shapes(false)) {
        agree(shape);
    }

    #[test]
    fn waves_of_a_troubled_cluster_hold(shape in shapes(true)) {
        waves_hold(shape);
    }
}

#[test]
fn waves_of_healthy_clusters_are_as_few_as_the_bound() {
    const CLUSTERS: u64 = 200;
    let mut rng = StdRng::seed_from_u64(20);
    let mut above: BTreeMap<u32, u32> = BTreeMap::new();
    let mut lengths: BTreeMap<u32, u32> = BTreeMap::new();
    for seed in 0..CLUSTERS {
        let mut up_to = |most: u32| rng.random_range(1..=most);
        let (racks, machines, osds, pools) = (up_to(5), up_to(6), up_to(4), up_to(3));
        let (waves, bound) = waves_hold(Shape { racks, machines, osds, pools, troubled: false, seed });
        *above.entry(waves - bound).or_default() += 1;
        *lengths.entry(waves).or_default() += 1;
    }
    println!("waves above the lower bound: clusters, of {CLUSTERS}");
    above.iter().for_each(|(waves, clusters)| println!("{waves:>3}: {clusters}"));
    println!("waves: clusters");
    lengths.iter().for_each(|(waves, clusters)| println!("{waves:>3}: {clusters}"));
    let at_bound = above.get(&0).copied().unwrap_or(0);
    assert!(u64::from(at_bound) * 100 >= CLUSTERS * 95, "{above:?}");
}
