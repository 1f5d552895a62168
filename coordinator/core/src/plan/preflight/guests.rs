//! The guests of one host, and the emulators that they run on.

use super::Look;
use crate::codes;
use replank_common::census::{Guest, GuestState};

pub(super) fn check(look: &mut Look<'_>) {
    census(look);
    for guest in look.facts.census.guests.values() {
        state(look, guest);
        emulator_of(look, guest);
    }
    emulators(look);
    emulator_version(look);
}

fn census(look: &mut Look<'_>) {
    for disagreement in &look.facts.census.disagreements {
        let finding = look.about(codes::CENSUS, "census").blocks(
            format!("the four sources do not agree: {disagreement}"),
            "find out which source is wrong before anything is changed; replank repairs nothing by itself",
        );
        look.push(finding);
    }
}

fn state(look: &mut Look<'_>, guest: &Guest) {
    let about = look.about(codes::GUEST_STATE, format!("guest {}", guest.name));
    let finding = match &guest.state {
        GuestState::Running => return,
        GuestState::Paused(reason) if reason == "ioerror" => about.blocks(
            "it is paused on an I/O error: its storage is gone or full, and libvirtd may end it when it reconnects",
            "mend the storage and resume the guest (`virsh resume`), or let its owner end it",
        ),
        GuestState::Paused(reason) if reason == "user" => about.notes(
            "its owner paused it; it stays paused",
            "nothing",
        ),
        GuestState::Paused(reason) => about.blocks(
            format!("it is paused ({reason})"),
            "wait until that is over, or let its owner end it, then take the inventory again",
        ),
        GuestState::Other(word) if word == "pmsuspended" => about.notes("it sleeps; it stays asleep", "nothing"),
        GuestState::Other(word) => about.blocks(
            format!("libvirt says `{word}` of it"),
            "wait until it runs or is gone, then take the inventory again",
        ),
        GuestState::Unknown => about.blocks(
            "libvirt could not be asked about it in time: its monitor may hang, and libvirtd ends a guest whose monitor \
             does not answer when it reconnects",
            "look at its storage and at `virsh domstate`; take the inventory again when it answers",
        ),
    };
    look.push(finding);
}

/// On its start libvirtd runs the emulator that a guest names; without it, it gives the guest up (libvirt 7726d1581f).
fn emulator_of(look: &mut Look<'_>, guest: &Guest) {
    let path = guest.emulator.display();
    let subject = format!("guest {}", guest.name);
    match look.facts.emulators.iter().find(|fact| fact.path == guest.emulator) {
        None => {
            let finding = look.about(codes::EMULATOR_MISSING, subject).blocks(
                format!(
                    "nothing is known of its emulator {path}; libvirtd may give the guest up on its start"
                ),
                format!("put the package that has {path} back, in the version that the guest runs"),
            );
            look.push(finding);
        }
        Some(fact) if guest.emulator_deleted && fact.version.is_some() => {
            let finding = look.about(codes::EMULATOR_REPLACED, subject).notes(
                format!("{path} was replaced on disk since the guest started; the guest runs the older one"),
                "nothing",
            );
            look.push(finding);
        }
        // What does not run is told once for all its guests.
        Some(_) => {}
    }
}

fn emulators(look: &mut Look<'_>) {
    for fact in look.facts.emulators.iter().filter(|fact| fact.version.is_none()) {
        let path = fact.path.display().to_string();
        let guests = look.facts.census.guests.values();
        let gone = guests.into_iter().any(|guest| guest.emulator == fact.path && guest.emulator_deleted);
        let users = fact.used_by.join(", ");
        let finding = if gone {
            look.about(codes::EMULATOR_MISSING, path.clone()).blocks(
                format!("it is gone since {users} started: nothing at its path runs ({})", fact.detail),
                format!(
                    "put the package that has {path} back, in the version that the guests run; libvirtd runs it once on its \
                     start, and may give guests up without it"
                ),
            )
        } else if users.is_empty() {
            let about = look.about(codes::EMULATOR_BROKEN, path);
            about.notes(format!("it does not run ({}), and no guest uses it", fact.detail), "nothing")
        } else {
            look.about(codes::EMULATOR_BROKEN, path).blocks(
                format!("it does not run ({}), and {users} use it", fact.detail),
                "repair its package; libvirtd runs it once on its start, and may give guests up whose emulator fails",
            )
        };
        look.push(finding);
    }
}

/// New guests get an emulator of the version that the hop starts from, or the new one already.
fn emulator_version(look: &mut Look<'_>) {
    let hop = look.target.qemu_hop;
    let Some(libvirt) = &look.facts.libvirt else { return };
    if libvirt.running_version.is_some() && libvirt.default_emulators.is_empty() {
        let finding = look.about(codes::EMULATOR_MISSING, "emulator for new guests").blocks(
            "libvirtd names no emulator for new guests",
            "see `virsh domcapabilities`; a host without qemu has no role compute",
        );
        look.push(finding);
    }
    for (virt_type, path) in &libvirt.default_emulators {
        let Some(fact) = look.facts.emulators.iter().find(|fact| fact.path == *path) else {
            let finding = look.about(codes::EMULATOR_MISSING, path.display().to_string()).blocks(
                format!("new guests of type {virt_type} would get it, and it is not on disk"),
                "repair the package that it belongs to",
            );
            look.push(finding);
            continue;
        };
        let Some(version) = &fact.version else { continue };
        if !version.is_of_series(&hop.from) && *version != hop.to {
            let finding = look.about(codes::STALE_VERSION, path.display().to_string()).blocks(
                format!("it is qemu {version}, which is neither {} nor {}", hop.from, hop.to),
                "bring the host to the version that the hop starts from, or name another hop",
            );
            look.push(finding);
        }
    }
}
