//! The agents' service.
