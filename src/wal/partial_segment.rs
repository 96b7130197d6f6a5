use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use super::Archive;
use super::decode::{Unusable, check};
use crate::model::{Segment, SegmentSize, WalName};
use crate::postgres::SEGMENT_HEADER;
use crate::repository::layout;
use crate::store::{Store, StoreError};

/// What a repository has of a timeline from a segment on that is not complete there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Begin and end of the partial segments.
    pub(super) pieces: Vec<(u32, u32)>,
    /// A later segment, which exists.
    pub(super) later: Option<Segment>,
}

pub(super) async fn behind(
    store: &dyn Store,
    archive: &Archive,
    segment: Segment,
) -> Result<Lag, StoreError> {
    let folder = archive.timeline(segment.timeline);
    let mut behind = Lag::default();
    let mut after = Some(format!("{folder}{segment}"));
    while let Some(begin) = after {
        let page = store.list(&folder, Some(&begin)).await?;
        for object in &page.objects {
            let Some((_, name)) = layout::parse_wal_file(&object.key) else { continue };
            match name {
                WalName::Piece { segment: of, begin, end } if of == segment => {
                    behind.pieces.push((begin, end));
                }
                WalName::Segment(of)
                | WalName::Partial(of)
                | WalName::Piece { segment: of, .. }
                | WalName::BackupLabel { segment: of, .. }
                    if of > segment =>
                {
                    behind.later = Some(of);
                    return Ok(behind);
                }
                _ => {}
            }
        }
        after = page.next;
    }
    Ok(behind)
}

/// The partial segments that reach furthest from the begin of a segment without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartialSegments {
    segment: Segment,
    size: SegmentSize,
    chain: Vec<(u32, u32)>,
}

impl PartialSegments {
    pub(super) fn assemble(segment: Segment, size: SegmentSize, mut all: Vec<(u32, u32)>) -> Self {
        all.retain(|(begin, end)| begin < end && u64::from(*end) <= size.bytes());
        all.sort_unstable();
        let mut chain = Vec::new();
        let mut reach = 0;
        loop {
            let next = all.iter().filter(|(begin, _)| *begin <= reach).max_by_key(|(_, end)| *end);
            match next {
                Some(&(begin, end)) if end > reach => {
                    chain.push((begin, end));
                    reach = end;
                }
                _ => return Self { segment, size, chain },
            }
        }
    }

    /// Returns how many bytes of the segment are available.
    pub(super) fn bytes(&self) -> u32 {
        self.chain.last().map_or(0, |(_, end)| *end)
    }

    /// Returns begin and end of each, in order; `None` where there is none.
    pub(super) fn into_chain(self) -> Option<Vec<(u32, u32)>> {
        (!self.chain.is_empty()).then_some(self.chain)
    }

    pub(super) fn begin(self, path: &Path) -> Result<PartialAssembly, Unusable> {
        let failed = |source| Unusable::Write { path: path.to_owned(), source };
        let file = File::create(path).map_err(failed)?;
        file.set_len(self.size.bytes()).map_err(failed)?;
        Ok(PartialAssembly { of: self, file, path: path.to_owned(), next: 0 })
    }
}

/// A segment that is being assembled.
pub(super) struct PartialAssembly {
    of: PartialSegments,
    file: File,
    path: PathBuf,
    next: usize,
}

impl PartialAssembly {
    pub(super) fn next_piece(&self) -> Option<WalName> {
        let &(begin, end) = self.of.chain.get(self.next)?;
        Some(WalName::Piece { segment: self.of.segment, begin, end })
    }

    /// Adds the requested partial segment.
    pub(super) fn add(&mut self, name: WalName, from: &Path) -> Result<(), Unusable> {
        let WalName::Piece { begin, end, .. } = name else { return Ok(()) };
        let failed = |source| Unusable::Write { path: self.path.clone(), source };
        let mut piece = File::open(from).map_err(failed)?;
        let (found, expected) = (piece.metadata().map_err(failed)?.len(), u64::from(end) - u64::from(begin));
        if found != expected {
            return Err(Unusable::Size { key: name.to_string(), found, expected });
        }
        self.file.seek(io::SeekFrom::Start(begin.into())).map_err(failed)?;
        io::copy(&mut piece, &mut self.file).map_err(failed)?;
        self.next += 1;
        Ok(())
    }

    /// Verifies that it is the expected segment.
    pub(super) fn end(mut self, archive: &Archive) -> Result<(), Unusable> {
        let failed = |source| Unusable::Write { path: self.path.clone(), source };
        let mut header = [0; SEGMENT_HEADER];
        self.file.rewind().map_err(failed)?;
        File::open(&self.path).and_then(|mut file| file.read_exact(&mut header)).map_err(failed)?;
        check(&header, self.of.segment, archive, &WalName::Segment(self.of.segment).to_string())?;
        self.file.sync_all().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Timeline;

    fn pieces(all: Vec<(u32, u32)>) -> PartialSegments {
        PartialSegments::assemble(
            Segment::new(Timeline::FIRST, 1, SegmentSize::DEFAULT),
            SegmentSize::DEFAULT,
            all,
        )
    }

    #[test]
    fn pieces_reach_as_far_as_there_is_no_hole() {
        assert_eq!(pieces(vec![]).bytes(), 0);
        assert_eq!(pieces(vec![(8, 16)]).bytes(), 0);
        assert_eq!(pieces(vec![(0, 8), (8, 16), (24, 32)]).bytes(), 16);
        // A restart ships again from the begin; the largest is taken.
        assert_eq!(pieces(vec![(0, 8), (8, 16), (0, 32), (16, 24)]).chain, [(0, 32)]);
        assert_eq!(pieces(vec![(0, 17 << 20)]).bytes(), 0);
    }

    proptest! {
        #[test]
        fn the_chain_covers_just_what_all_of_them_cover_from_the_begin(
            all in prop::collection::vec((0_u32..60, 0_u32..60), 0..12)
        ) {
            let all: Vec<_> = all.into_iter().filter(|(begin, end)| begin < end).collect();
            let covered = (0..60).take_while(|at| all.iter().any(|(b, e)| b <= at && at < e)).count();
            let found = pieces(all);
            prop_assert_eq!(found.bytes() as usize, covered);
            let mut reach = 0;
            for (begin, end) in found.chain {
                prop_assert!(begin <= reach && end > reach);
                reach = end;
            }
        }
    }
}
