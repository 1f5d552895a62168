//! Whom an agent obeys (P9): the highest epoch, and in it one coordinator. The agent's ledger keeps it, and a coordinator asks the same rule whether
//! it would be obeyed before it lets an agent in.

use crate::ids::{CoordinatorId, Epoch};

/// The latest coordinator that was obeyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leader {
    pub epoch: Epoch,
    /// Of the welcome that was obeyed; `None` where that named nobody, or a command alone brought the epoch.
    pub coordinator: Option<CoordinatorId>,
}

impl Leader {
    /// The leader once this welcome is obeyed; `None`: a later coordinator was, or another one of the same epoch.
    pub fn after_welcome(self, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Option<Self> {
        let welcomed = Self { epoch, coordinator };
        match epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => {
                (self.coordinator.is_none() || self.coordinator == coordinator).then_some(welcomed)
            }
            std::cmp::Ordering::Greater => Some(welcomed),
        }
    }

    /// The leader once a command of this epoch is obeyed; `None`: a later coordinator was. A command comes over a link whose welcome was obeyed.
    pub fn after_command(self, epoch: Epoch) -> Option<Self> {
        match epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(self),
            std::cmp::Ordering::Greater => Some(Self { epoch, coordinator: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn of_one_epoch_one_coordinator_is_obeyed_and_a_later_epoch_replaces_it() {
        let [one, two] = [1, 2].map(|number| Some(CoordinatorId(Uuid::from_u128(number))));
        let leader = Leader::default().after_welcome(Epoch(7), one).unwrap();
        assert_eq!(leader.after_welcome(Epoch(7), one), Some(leader));
        for (epoch, coordinator) in [(7, two), (7, None), (6, one)] {
            assert_eq!(leader.after_welcome(Epoch(epoch), coordinator), None, "{epoch} {coordinator:?}");
        }
        assert_eq!(leader.after_welcome(Epoch(8), two), Some(Leader { epoch: Epoch(8), coordinator: two }));
        assert_eq!(leader.after_command(Epoch(7)), Some(leader));
        assert_eq!(leader.after_command(Epoch(6)), None);
        // One that names nobody, as older ones do, is replaced by the first that does.
        let unnamed = leader.after_command(Epoch(8)).unwrap();
        assert_eq!(unnamed, Leader { epoch: Epoch(8), coordinator: None });
        assert_eq!(unnamed.after_welcome(Epoch(8), None), Some(unnamed));
        assert!(unnamed.after_welcome(Epoch(8), one).is_some_and(|leader| leader.coordinator == one));
    }
}
