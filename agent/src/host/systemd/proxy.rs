//! The part of `org.freedesktop.systemd1.Manager` that is used (org.freedesktop.systemd1(5)).

use zbus::wire::OwnedObjectPath;

/// Kind (`symlink`, `unlink`), path, target.
pub(super) type Changes = Vec<(String, String, String)>;

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    async fn subscribe(&self) -> zbus::Result<()>;
    async fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    async fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    async fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    async fn mask_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> zbus::Result<Changes>;
    async fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, Changes)>;
    async fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Changes>;
    async fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    async fn reload(&self) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}
