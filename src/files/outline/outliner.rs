//! Making an outline of a content that comes in pieces, and its checksum on the way.

use std::sync::Arc;

use super::{
    Chunk, Course, Milestone, Outline,
    cut::{self, LONGEST},
};
use crate::files::checksum::ContentHasher;

/// From one milestone to the next, in bytes. So much is hashed again where two contents part.
const MILESTONE: u64 = 256 << 10;

/// Makes the outline of a content. As long as the content is that of the version `before`, only its digests are calculated;
/// from where they part on, the checksum goes on from the last milestone.
pub struct Outliner {
    before: Option<Arc<Course>>,
    /// Takes the content from the end of the last milestone on, or of the last chunk when there is a hasher.
    held: Vec<u8>,
    /// How much of that is in chunks.
    cut: usize,
    chunks: Vec<Chunk>,
    milestones: Vec<Milestone>,
    /// Bytes in chunks, and those at the last milestone.
    size: u64,
    milestone: u64,
    /// Of all chunks, since the content is another than that before.
    hasher: Option<ContentHasher>,
}

impl Outliner {
    /// Of a content that may begin as another did.
    pub fn new(before: Option<Arc<Course>>) -> Self {
        let hasher = before.is_none().then(ContentHasher::default);
        Self {
            before,
            held: Vec::new(),
            cut: 0,
            chunks: Vec::new(),
            milestones: Vec::new(),
            size: 0,
            milestone: 0,
            hasher,
        }
    }

    /// Of a content whose first `same` bytes are those of another, and so many bytes of it that need not be given any more.
    pub fn after(before: Arc<Course>, same: u64) -> (Self, u64) {
        // Where a chunk ends may depend on so much of what follows.
        let sure = same.min(before.outline.size).saturating_sub(LONGEST as u64);
        let (mut size, mut chunks, mut milestones) = (0, Vec::new(), Vec::new());
        for milestone in &before.milestones {
            let next = &before.outline.chunks[chunks.len()..milestone.chunks];
            let end = size + next.iter().map(Chunk::length).sum::<u64>();
            if end > sure {
                break;
            }
            size = end;
            chunks.extend_from_slice(next);
            milestones.push(milestone.clone());
        }
        (Self { chunks, milestones, size, milestone: size, ..Self::new(Some(before)) }, size)
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
        while self.held.len() - self.cut >= LONGEST {
            self.chunk();
        }
        self.let_go();
    }

    /// Of all pieces.
    pub fn finish(mut self) -> Course {
        while self.cut < self.held.len() {
            self.chunk();
        }
        if self.hasher.is_none()
            && let Some(before) = &self.before
            && before.outline.chunks.len() == self.chunks.len()
        {
            let milestones = self.milestones.into_boxed_slice();
            return Course { outline: before.outline.clone(), milestones };
        }
        let hasher = self.hasher.take().unwrap_or_else(|| self.part());
        let (sum, blake2b) = hasher.finish();
        let chunks = self.chunks.into_boxed_slice();
        let outline = Arc::new(Outline { sum, blake2b, size: self.size, chunks });
        Course { outline, milestones: self.milestones.into_boxed_slice() }
    }

    /// Takes the next chunk of what is held.
    fn chunk(&mut self) {
        let rest = &self.held[self.cut..];
        let chunk = self.as_before(rest).unwrap_or_else(|| Chunk::of(&rest[..cut::first(rest)]));
        if self.hasher.is_none() && self.expected() != Some(chunk) {
            self.hasher = Some(self.part());
        }
        let end = self.cut + chunk.length as usize;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.held[self.cut..end]);
        }
        self.cut = end;
        self.size += chunk.length();
        self.chunks.push(chunk);
        self.set_milestone();
    }

    /// The next chunk, if all is as before up to its end. No line end is looked for then.
    fn as_before(&self, rest: &[u8]) -> Option<Chunk> {
        let chunk = self.expected().filter(|_| self.hasher.is_none())?;
        let content = rest.get(..chunk.length as usize)?;
        (cut::is_whole(content) && Chunk::of(content) == chunk).then_some(chunk)
    }

    /// The chunk of the content before that is at this place.
    fn expected(&self) -> Option<Chunk> {
        self.before.as_ref()?.outline.chunks.get(self.chunks.len()).copied()
    }

    /// The state of the checksum behind the last chunk, where this content and the one before part.
    fn part(&self) -> ContentHasher {
        let mut hasher = self.milestones.last().map(|last| last.hasher.clone()).unwrap_or_default();
        hasher.update(&self.held[..self.cut]);
        hasher
    }

    /// Keeps the state of the checksum now and then.
    fn set_milestone(&mut self) {
        let chunks = self.chunks.len();
        let milestone = match (&self.hasher, &self.before) {
            (Some(hasher), _) if self.size - self.milestone >= MILESTONE => {
                Some(Milestone { chunks, hasher: hasher.clone() })
            }
            (None, Some(before)) => {
                let next = before.milestones.get(self.milestones.len());
                next.filter(|next| next.chunks == chunks).cloned()
            }
            _ => None,
        };
        if let Some(milestone) = milestone {
            self.milestones.push(milestone);
            self.milestone = self.size;
            if self.hasher.is_none() {
                self.held.drain(..self.cut);
                self.cut = 0;
            }
        }
    }

    /// What is in the checksum already need not be held.
    fn let_go(&mut self) {
        if self.hasher.is_some() {
            self.held.drain(..self.cut);
            self.cut = 0;
        }
    }
}
