//! The two numbers by which certificates are known: the fingerprint of a key and the serial of a certificate.

use crate::tls;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Why a text is not the hexadecimal number that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} is {digits} lower-case hexadecimal digits")]
pub struct BadHex {
    pub kind: &'static str,
    pub digits: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            pub fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadHex;
            fn from_str(text: &str) -> Result<Self, BadHex> {
                HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| <[u8; $bytes]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or(BadHex { kind: $kind, digits: 2 * $bytes })
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadHex;
            fn try_from(text: String) -> Result<Self, BadHex> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

pub(crate) use hex_id;

hex_id!(
    /// SHA-256 over a key's SubjectPublicKeyInfo (DER), in 64 hexadecimal digits.
    ///
    /// Over the key and not the certificate, so that an authority whose certificate is extended keeps its
    /// fingerprint, and with it every join token that is still on its way.
    Fingerprint, "fingerprint", 32
);
hex_id!(
    /// A certificate's serial number, in 32 hexadecimal digits.
    ///
    /// The authority draws it at random; the first two bits are 01, so that it is positive and always 16
    /// bytes long (RFC 5280 section 4.1.2.2 allows up to 20).
    Serial, "serial number", 16
);

impl Fingerprint {
    /// The fingerprint of the key whose SubjectPublicKeyInfo is `spki_der`.
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(Sha256::digest(spki_der).into())
    }
}

impl Serial {
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        let mut bytes = random_bytes::<16>()?;
        bytes[0] = (bytes[0] & 0x3f) | 0x40;
        Ok(Self(bytes))
    }

    /// From the content of a certificate's serial INTEGER; `None` when it is not one of ours.
    pub(crate) fn from_der_integer(content: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = content.try_into().ok()?;
        (bytes[0] & 0xc0 == 0x40).then_some(Self(bytes))
    }
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to get random bytes from the operating system")]
pub struct NoRandomness;

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    tls::provider().secure_random.fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_positive_and_full_length() {
        for _ in 0..200 {
            let serial = Serial::random().unwrap();
            assert_eq!(Serial::from_der_integer(serial.as_bytes()), Some(serial));
            assert_eq!(serial.to_string().parse(), Ok(serial));
        }
        assert_eq!(Serial::from_der_integer(&[0x40; 15]), None);
        assert_eq!(Serial::from_der_integer(&[0x80; 16]), None);
    }

    #[test]
    fn hexadecimal_is_strict() {
        let text = "0f".repeat(32);
        assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        for bad in [text.to_uppercase(), text[2..].to_owned(), format!(" {text}"), "zz".repeat(32)] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Fingerprint>("\"0f\"").is_err());
    }
}
