//! Where a cluster shall go: the fleet file's words, resolved against the catalog.

use crate::catalog::{Catalog, CephPart, Hop, Part, Side};
use crate::codes;
use crate::fleet_file::{CephTarget, FleetFile};
use crate::plan::finding::About;
use crate::plan::target::{check_repository, upstream};
use replank_common::action::Repository;
use replank_common::finding::Finding;
use std::collections::BTreeSet;

/// The hop of a voyage over a Ceph cluster, and what was said of it.
#[derive(Debug, Clone, Copy)]
pub(in crate::plan) struct Voyage<'a> {
    pub(in crate::plan) fleet: &'a FleetFile,
    pub(in crate::plan) goal: &'a CephTarget,
    pub(in crate::plan) catalog: &'a Catalog,
    pub(in crate::plan) hop: &'a Hop,
    pub(in crate::plan) part: &'a CephPart,
}

impl<'a> Voyage<'a> {
    /// # Errors
    /// The blockers that leave no voyage to speak of.
    pub(in crate::plan) fn resolve(
        fleet: &'a FleetFile,
        goal: &'a CephTarget,
        catalog: &'a Catalog,
    ) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut found = Vec::new();
        let mut others = 0;
        for id in &fleet.hops {
            match catalog.hops.get(id) {
                Some(hop) => match &hop.part {
                    Part::Ceph(part) => found.push((hop, part)),
                    Part::Qemu(_) | Part::Libvirt(_) => others += 1,
                },
                None => findings.push(About::fleet(codes::HOP_UNKNOWN, format!("hop {id}")).blocks(
                    "the catalog has no such hop",
                    format!("name one of: {}", catalog.hops.keys().cloned().collect::<Vec<_>>().join(", ")),
                )),
            }
        }
        match found.as_slice() {
            [(hop, part)] if findings.is_empty() && others == 0 => {
                Ok(Self { fleet, goal, catalog, hop, part })
            }
            hops => {
                if findings.is_empty() {
                    findings.push(About::fleet(codes::CEPH_HOP, "fleet.hops").blocks(
                        format!("it names {} hops of Ceph and {others} of something else", hops.len()),
                        "name the one hop that the cluster goes next: a cluster goes from release to release, with a plan for each",
                    ));
                }
                Err(findings)
            }
        }
    }

    pub(in crate::plan) fn repository(&self) -> Option<&'a Repository> {
        self.fleet.repositories.get(&self.goal.repository)
    }

    /// What can be said without looking at the cluster.
    pub(in crate::plan) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.check_version(&mut findings);
        self.check_packages(&mut findings);
        let repository = &self.goal.repository;
        check_repository(
            self.fleet,
            "ceph.repository",
            repository,
            self.hop.manager,
            &mut BTreeSet::new(),
            &mut findings,
        );
        self.tell_defaults(&mut findings);
        findings
    }

    fn check_version(&self, findings: &mut Vec<Finding>) {
        let version = &self.goal.version;
        if !version.is_of_series(&self.hop.to) {
            findings.push(About::fleet(codes::TARGET_VERSION, "ceph.version").blocks(
                format!("{version} is not of {}, where the hop {} leads", self.hop.to, self.hop.id),
                format!("write a point release of {}, or name another hop", self.hop.to),
            ));
        }
        for row in self.part.limit.iter().filter(|row| row.side == Side::To && row.rules_out(version)) {
            findings.push(About::fleet(codes::CEPH_POINT_RELEASE, "ceph.version").blocks(
                format!("{version} must not be used: {} ({})", row.why, row.source),
                "name a later point release of the series, and pin its packages",
            ));
        }
    }

    fn check_packages(&self, findings: &mut Vec<Finding>) {
        for pin in &self.goal.packages {
            let own = self.hop.packages.names.contains(&pin.name);
            if own && !upstream(&pin.version).is_of_series(&self.goal.version) {
                findings.push(About::fleet(codes::TARGET_VERSION, format!("package {}", pin.name)).blocks(
                    format!("{} is not {}, which the fleet file asks for", pin.version, self.goal.version),
                    "pin all packages of Ceph to one build of that version",
                ));
            }
        }
        for name in &self.hop.packages.required {
            if !self.goal.packages.iter().any(|pin| pin.name == *name) {
                findings.push(About::fleet(codes::PACKAGE_NOT_PINNED, format!("package {name}")).blocks(
                    "Ceph cannot be upgraded without it, and the fleet file does not pin it",
                    "add it to ceph.packages with its exact version",
                ));
            }
        }
    }

    /// Options that change under the operator: a mixed cluster has both values.
    fn tell_defaults(&self, findings: &mut Vec<Finding>) {
        for row in &self.part.default {
            findings.push(About::fleet(codes::CEPH_DEFAULTS, row.option.clone()).notes(
                format!(
                    "its default goes from {} to {}: {} ({})",
                    row.before, row.after, row.effect, row.source
                ),
                "nothing, if the new one will do; else set it in ceph.conf before",
            ));
        }
    }
}
