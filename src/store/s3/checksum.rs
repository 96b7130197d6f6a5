use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType};
use aws_smithy_types::base64;
use crc_fast::CrcAlgorithm;

use crate::model::Sha256Hex;
use crate::policy::Checksum;

/// The checksum of one body, which the store compares with the bytes it receives.
#[derive(Clone, Debug)]
pub(super) enum PartChecksum {
    Crc64Nvme(u64),
    Crc32c(u32),
    Sha256(Sha256Hex),
    None,
}

impl PartChecksum {
    pub(super) fn compute(checksum: Checksum, body: &[u8]) -> Self {
        match checksum {
            Checksum::Crc64Nvme => Self::Crc64Nvme(crc_fast::crc64_nvme(body)),
            Checksum::Crc32c => Self::Crc32c(crc_fast::crc32_iscsi(body)),
            Checksum::Sha256 => Self::Sha256(Sha256Hex::digest(body)),
            Checksum::None => Self::None,
        }
    }

    /// Returns the checksum of other bytes.
    pub(super) fn wrong(self) -> Self {
        match self {
            Self::Crc64Nvme(sum) => Self::Crc64Nvme(!sum),
            Self::Crc32c(sum) => Self::Crc32c(!sum),
            Self::Sha256(sum) => Self::Sha256(Sha256Hex::digest(sum.as_bytes())),
            Self::None => Self::None,
        }
    }

    /// Returns the header value if the checksum is a CRC64NVME.
    pub(super) fn crc64_nvme(&self) -> Option<String> {
        match self {
            Self::Crc64Nvme(sum) => Some(base64::encode(sum.to_be_bytes())),
            _ => None,
        }
    }

    pub(super) fn crc32c(&self) -> Option<String> {
        match self {
            Self::Crc32c(sum) => Some(base64::encode(sum.to_be_bytes())),
            _ => None,
        }
    }

    pub(super) fn sha256(&self) -> Option<String> {
        match self {
            Self::Sha256(sum) => Some(base64::encode(sum.as_bytes())),
            _ => None,
        }
    }
}

/// Computes the CRC64NVME of the object from those of its parts, in order, each with its size. `None` for
/// other checksums: the store verifies each part, and no checksum of the whole exists.
pub(super) fn whole<'a>(parts: impl Iterator<Item = (&'a PartChecksum, u64)>) -> Option<PartChecksum> {
    let mut whole = crc_fast::crc64_nvme(&[]);
    for (sum, size) in parts {
        let PartChecksum::Crc64Nvme(sum) = sum else { return None };
        whole = crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, whole, *sum, size);
    }
    Some(PartChecksum::Crc64Nvme(whole))
}

pub(super) fn algorithm(checksum: Checksum) -> Option<ChecksumAlgorithm> {
    match checksum {
        Checksum::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
        Checksum::Crc32c => Some(ChecksumAlgorithm::Crc32C),
        Checksum::Sha256 => Some(ChecksumAlgorithm::Sha256),
        Checksum::None => None,
    }
}

/// Returns which checksum the store records for a multipart object.
pub(super) fn kept(checksum: Checksum) -> Option<ChecksumType> {
    match checksum {
        Checksum::Crc64Nvme => Some(ChecksumType::FullObject),
        Checksum::Crc32c | Checksum::Sha256 => Some(ChecksumType::Composite),
        Checksum::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_the_published_ones() {
        // The check values of the CRC catalogue, and of FIPS 180-4, for these bytes.
        let of = |checksum| PartChecksum::compute(checksum, b"123456789");
        assert_eq!(
            of(Checksum::Crc64Nvme).crc64_nvme(),
            Some(base64::encode(0xae8b_1486_0a79_9888_u64.to_be_bytes()))
        );
        assert_eq!(of(Checksum::Crc32c).crc32c(), Some(base64::encode(0xe306_9283_u32.to_be_bytes())));
        assert_eq!(
            of(Checksum::Sha256).sha256().as_deref(),
            Some("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")
        );
    }

    #[test]
    fn the_sum_of_the_whole_is_that_of_the_parts_put_together() {
        let parts: [&[u8]; 4] = [b"1234", b"567", b"", b"89"];
        let sums = parts.map(|part| (PartChecksum::compute(Checksum::Crc64Nvme, part), part.len() as u64));
        let whole = whole(sums.iter().map(|(sum, size)| (sum, *size))).unwrap();
        assert_eq!(whole.crc64_nvme(), PartChecksum::compute(Checksum::Crc64Nvme, b"123456789").crc64_nvme());
    }
}
