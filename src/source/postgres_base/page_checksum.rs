use crate::model::Lsn;

const SUMS: usize = 32;
const PRIME: u32 = 16_777_619;
const CHECKSUM: std::ops::Range<usize> = 8..10;
const UPPER: std::ops::Range<usize> = 14..16;

/// PostgreSQL's own (`checksum_impl.h`); without them all sums of a page of zeros would be the same.
const BEGINS: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// Returns whether a page is as its server wrote it. `block` is counted from the first segment of its
/// relation. A page that was written after `start` may have been read while it was written; it is restored
/// from the WAL.
pub(super) fn is_sound(page: &[u8], block: u32, start: Lsn) -> bool {
    let half = |range: std::ops::Range<usize>| u16::from_ne_bytes([page[range.start], page[range.start + 1]]);
    // A new page has no checksum.
    half(UPPER) == 0 || written(page) >= start || checksum(page, block) == half(CHECKSUM)
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Returns the page's LSN.
fn written(page: &[u8]) -> Lsn {
    Lsn(u64::from(word(page)) << 32 | u64::from(word(&page[4..])))
}

fn mix(sum: u32, value: u32) -> u32 {
    let mixed = sum ^ value;
    mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
}

fn checksum(page: &[u8], block: u32) -> u16 {
    let mut sums = BEGINS;
    for (number, row) in page.chunks_exact(4 * SUMS).enumerate() {
        let mut row_words = [0; SUMS];
        for (value, bytes) in row_words.iter_mut().zip(row.chunks_exact(4)) {
            *value = word(bytes);
        }
        if number == 0 {
            // The checksum field itself counts as zero.
            let mut bytes = row_words[2].to_ne_bytes();
            bytes[..CHECKSUM.len()].fill(0);
            row_words[2] = u32::from_ne_bytes(bytes);
        }
        for (sum, value) in sums.iter_mut().zip(row_words) {
            *sum = mix(*sum, value);
        }
    }
    let folded = sums.iter().fold(0, |all, sum| all ^ mix(mix(*sum, 0), 0)) ^ block;
    u16::try_from(folded % 65_535 + 1).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by PostgreSQL 15: the first page of `pg_database` of a fresh cluster would do as well; this one
    /// is small enough to be written down.
    fn page() -> Vec<u8> {
        let mut page = vec![0; 8192];
        page[4..8].copy_from_slice(&0x150_0000_u32.to_ne_bytes());
        page[12..14].copy_from_slice(&24_u16.to_ne_bytes());
        page[UPPER].copy_from_slice(&8192_u16.to_ne_bytes());
        let sum = checksum(&page, 3);
        page[CHECKSUM].copy_from_slice(&sum.to_ne_bytes());
        page
    }

    #[test]
    fn a_page_is_sound_in_its_place_only() {
        let after = Lsn(0x200_0000);
        assert!(is_sound(&page(), 3, after));
        assert!(!is_sound(&page(), 4, after));
        for at in [16, 4000, 8191] {
            let mut rotten = page();
            rotten[at] ^= 1;
            assert!(!is_sound(&rotten, 3, after), "{at}");
            assert!(is_sound(&rotten, 3, Lsn(0x150_0000)), "what is newer is in the log");
        }
        assert!(is_sound(&[0; 8192], 3, after), "a new page");
    }
}
