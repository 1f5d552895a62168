//! What is refused before and at the door of a coordinator, and how a coordinator that cannot start says so.

use crate::coordinator::{Serving, init};
use crate::support::Desk;

#[test]
fn settings_and_connections_that_do_not_work() {
    let desk = Desk::new();
    desk.refused(&["runs"], 3, "RP6303");
    desk.write("operator.toml", "coordinator = \"nowhere\"\nauthority = \"a\"\nidentity = \"i\"\n");
    desk.refused(&["runs"], 3, "RP6303");
    desk.write("operator.toml", "coordinator = \"127.0.0.1:1\"\nauthority = \"a\"\nidentity = \"i\"\n");
    desk.refused(&["runs"], 3, "RP6304");
    init(&desk);
    desk.refused(&["--config", "c/admin.toml", "runs"], 6, "RP6305");
}

#[test]
fn a_stranger_is_refused_by_tls() {
    let (home, strange) = (Desk::new(), Desk::new());
    let _serving = Serving::begin(&home);
    init(&strange);
    // The stranger's authority and key, at the address of the home fleet.
    let address = home.read("c/admin.toml").lines().next().unwrap().to_owned();
    let rest =
        strange.read("c/admin.toml").lines().skip(1).map(|line| format!("{line}\n")).collect::<String>();
    strange.write("c/admin.toml", &format!("{address}\n{rest}"));
    strange.refused(&["--config", "c/admin.toml", "runs"], 5, "RP6306");
    // It believes the coordinator, but is not believed.
    strange.write("c/authority.pem", &home.read("c/authority.pem"));
    let said = strange.run(&["--config", "c/admin.toml", "runs"]);
    assert!([3, 5].contains(&said.code), "{said:#?}");
}

#[test]
fn a_folder_is_made_once_and_used_by_one() {
    let desk = Desk::new();
    let serving = Serving::begin(&desk);
    desk.refused(&["init", "--dir", "c"], 3, "RP6001");
    desk.refused(&["serve", "--dir", "none"], 3, "RP6003");
    let second = desk.refused_by_serve("c");
    assert!(second.err.contains("RP6004"), "{second:#?}");
    assert_eq!(serving.stop(), 0);
    desk.write("c/coordinator.toml", &desk.read("c/coordinator.toml").replace("listen =", "lissen ="));
    let said = desk.refused_by_serve("c");
    assert!(said.err.contains("RP6003") && said.err.contains("lissen"), "{said:#?}");
}

#[test]
fn an_address_in_use_is_named() {
    let desk = Desk::new();
    init(&desk);
    let settings = replank_coordinator::config::Settings::read(&desk.path("c/coordinator.toml")).unwrap();
    let _taken = std::net::TcpListener::bind(settings.listen).unwrap();
    let said = desk.run(&["serve", "--dir", "c"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("RP6010") && said.err.contains(&settings.listen.to_string()), "{said:#?}");
}

impl Desk {
    fn refused_by_serve(&self, dir: &str) -> crate::support::Said {
        let said = self.run(&["serve", "--dir", dir]);
        assert_eq!(said.code, 3, "{said:#?}");
        said
    }
}
