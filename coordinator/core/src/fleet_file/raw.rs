//! The fleet file as typed. Every key is optional here, so that reading does not end at the first one that is missing.

use serde::Deserialize;
use toml::Spanned;

type Text = Option<Spanned<String>>;
type Texts = Option<Vec<Spanned<String>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) fleet: Option<Spanned<RawFleet>>,
    pub(super) pace: Option<Spanned<RawPace>>,
    pub(super) way: Option<Spanned<RawWay>>,
    pub(super) qemu: Option<Spanned<RawQemu>>,
    pub(super) libvirt: Option<Spanned<RawLibvirt>>,
    pub(super) ceph: Option<Spanned<RawCeph>>,
    #[serde(rename = "ceph-ownership")]
    pub(super) ownership: Option<Spanned<RawOwnership>>,
    #[serde(default)]
    pub(super) repository: Vec<Spanned<RawRepository>>,
    #[serde(default)]
    pub(super) host: Vec<Spanned<RawHost>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFleet {
    pub(super) name: Text,
    pub(super) hops: Texts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPace {
    pub(super) parallel_hosts: Option<Spanned<u32>>,
    pub(super) staging_parallel: Option<Spanned<u32>>,
    /// A number, or a list of host names.
    pub(super) canary: Option<Spanned<toml::Value>>,
    pub(super) spare_bytes: Option<Spanned<u64>>,
    pub(super) deadline_percent: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWay {
    pub(super) default: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPackage {
    pub(super) name: Text,
    pub(super) version: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQemu {
    pub(super) version: Text,
    pub(super) repository: Text,
    pub(super) package: Option<Spanned<RawPackage>>,
    pub(super) prefix: Text,
    pub(super) bin_directory: Text,
    pub(super) build_has: Texts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLibvirt {
    pub(super) repository: Text,
    pub(super) packages: Option<Vec<Spanned<RawPackage>>>,
    pub(super) build_has: Texts,
    pub(super) tcp: Option<Spanned<RawTcp>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTcp {
    pub(super) listen_address: Text,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) auth: Text,
    pub(super) acknowledge: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCeph {
    pub(super) version: Text,
    pub(super) repository: Text,
    pub(super) packages: Option<Vec<Spanned<RawPackage>>>,
    pub(super) removals: Texts,
    pub(super) admin: Texts,
    pub(super) consent: Texts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOwnership {
    pub(super) admin: Texts,
    pub(super) consent: Texts,
    pub(super) files_per_second: Option<Spanned<u32>>,
    pub(super) down_seconds: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRepository {
    pub(super) name: Text,
    pub(super) kind: Text,
    pub(super) uri: Text,
    pub(super) suite: Text,
    pub(super) components: Texts,
    pub(super) options: Texts,
    pub(super) base_url: Text,
    pub(super) gpg_check: Option<Spanned<bool>>,
    pub(super) gpg_key: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHost {
    pub(super) name: Text,
    pub(super) roles: Texts,
    pub(super) way: Text,
    pub(super) canary: Option<Spanned<bool>>,
    pub(super) address: Text,
    pub(super) reserved: Option<Spanned<bool>>,
}
