//! Records: the layout of requests and responses of a user's own service, and how it is read,
//! written and checked.
//!
//! `#[derive(Record)]` computes the layout from the fields as they are written, and prints it in
//! the documentation of the type and of its view. The rules:
//!
//! - A record begins with its check (`u32`): the FNV-1a of its table's text after `check, 0x..., `.
//!   So peers with another version, or with other names or types of fields, notice. Its fields follow
//!   in the order of declaration, each at the next multiple of its size, in host byte order. A `bool`
//!   is a byte, 0 or 1; an array is its elements.
//! - A text, a list and a record within a record is a *part*. In its field's place there are its
//!   offset from the record's start and its length (`u32` each). The length counts bytes of a text
//!   or an inner record, and elements of a list.
//! - Parts follow the last field in the order of declaration, each at the next multiple of its
//!   alignment: 1 for texts, the element's size for lists of numbers, 8 for all others. A text has
//!   a NUL after its bytes, which is not counted. A list of texts or records begins with an offset
//!   and a length for each of them, and they follow in order.
//! - Bytes between are 0. Records are at most 32 deep, where one counts for each 4 KiB of its view.
//!
//! So there is one sequence of bytes for a value, and what is read is refused unless it is that.
//! Parts neither overlap nor leave gaps, nothing lies out of bounds or follows, texts are UTF-8.
#![forbid(unsafe_code)]

use crate::codec::{BuildError, Fault, Malformed};
use crate::service::{Answer, OpenError};
use std::fmt;
use std::marker::PhantomData;

/// How deep records may be nested, so that no input makes the reader use up its stack.
const DEPTH_MAX: usize = 32;
/// How many bytes of its view make a record count once more.
const DEPTH_BYTES: usize = 4 << 10;
/// An offset and a length.
const PLACE_LEN: usize = 8;
/// Where records and directories begin is a multiple of this.
const ALIGNMENT: usize = 8;

/// A structure with a stable layout, to be derived.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no layout",
    label = "a derived record is wanted here",
    note = "derive `snapwire::Record` for `{Self}`; aliases of types are not looked through"
)]
pub trait Record {
    /// What the version and the names and types of the fields come to. Others are refused.
    const CHECK: u32;
    /// The length of the check and the fields, in bytes.
    const FIXED_LEN: usize;
    /// The name in errors.
    const NAME: &'static str;
    /// The layout as a table. A test that compares it notices when it changes.
    const LAYOUT: &'static str;

    /// What a record's bytes are read as: numbers by value, the rest borrowed.
    type View<'v>: Copy + fmt::Debug;

    /// Writes the fields and parts. Generated code calls this through [`encode`].
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit, [`BuildError::Unfit`] when it is too deep.
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), BuildError>;

    /// Reads the fields and parts. Generated code calls this through [`decode`].
    ///
    /// # Errors
    /// Why the bytes are malformed.
    fn read<'v>(reader: &mut Reader<'v>) -> Result<Self::View<'v>, Malformed>;
}

/// Writes a record to the start of a payload; returns its length.
///
/// # Errors
/// [`BuildError::Overflow`] when it does not fit, [`BuildError::Unfit`] when it is too deep.
pub fn encode<R: Record>(record: &R, payload: &mut [u8]) -> Result<usize, BuildError> {
    let mut writer = Writer { payload, base: 0, end: 0, depth: 0, what: R::NAME };
    writer.write(record)?;
    Ok(writer.end)
}

/// A view of a record, which is the whole payload and is checked as a whole.
///
/// # Errors
/// [`Fault::OtherLayout`], [`Fault::Truncated`], [`Fault::BadLayout`], [`Fault::OutOfBounds`],
/// [`Fault::MissingNul`], with the name of the field.
pub fn decode<R: Record>(payload: &[u8]) -> Result<R::View<'_>, Malformed> {
    read::<R>(payload, 0)
}

/// A view of a record that is within so many others.
fn read<R: Record>(bytes: &[u8], depth: usize) -> Result<R::View<'_>, Malformed> {
    let refuse = |fault| Malformed { fault, what: R::NAME };
    if bytes.first_chunk().is_some_and(|found| *found != R::CHECK.to_ne_bytes()) {
        return Err(refuse(Fault::OtherLayout));
    }
    if bytes.len() < R::FIXED_LEN {
        return Err(refuse(Fault::Truncated));
    }
    let depth = deeper::<R>(depth).ok_or(refuse(Fault::BadLayout))?;
    let mut reader = Reader { bytes, end: R::FIXED_LEN, depth };
    let view = R::read(&mut reader)?;
    match reader.end == bytes.len() {
        true => Ok(view),
        false => Err(refuse(Fault::BadLayout)),
    }
}

/// How deep what is in a record is, unless that is too deep.
fn deeper<R: Record>(depth: usize) -> Option<usize> {
    let depth = depth + size_of::<R::View<'static>>().div_ceil(DEPTH_BYTES).max(1);
    (depth <= DEPTH_MAX).then_some(depth)
}

/// The smallest multiple of `alignment`, a power of two, that is not below `at`.
const fn aligned(at: usize, alignment: usize) -> usize {
    (at + alignment - 1) & !(alignment - 1)
}

mod sealed {
    pub trait Sealed {}
}

/// A number or a `bool`: what stands in a record by itself.
pub trait Scalar: sealed::Sealed + Copy + fmt::Debug + Default {
    /// Its size and its alignment, in bytes.
    const LEN: usize;

    #[doc(hidden)]
    fn put(self, target: &mut [u8]);

    #[doc(hidden)]
    fn get(bytes: &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl sealed::Sealed for $number {}

        impl Scalar for $number {
            const LEN: usize = size_of::<$number>();

            #[inline]
            fn put(self, target: &mut [u8]) {
                target.copy_from_slice(&self.to_ne_bytes());
            }

            #[inline]
            fn get(bytes: &[u8]) -> Option<$number> {
                Some(<$number>::from_ne_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);

impl sealed::Sealed for bool {}

impl Scalar for bool {
    const LEN: usize = 1;

    #[inline]
    fn put(self, target: &mut [u8]) {
        target.copy_from_slice(&[u8::from(self)]);
    }

    #[inline]
    fn get(bytes: &[u8]) -> Option<bool> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

/// Writes a record: the place of each field, and parts one after the other.
#[derive(Debug)]
pub struct Writer<'b> {
    payload: &'b mut [u8],
    /// Where the record begins that is being written.
    base: usize,
    /// Where the next part may begin.
    end: usize,
    /// How deep it is in others. It counts itself when it begins.
    depth: usize,
    what: &'static str,
}

impl Writer<'_> {
    /// Room at the end, at a multiple of an alignment that counts from the record's start.
    fn reserve(&mut self, alignment: usize, length: usize) -> Result<&mut [u8], BuildError> {
        let start = self.base + aligned(self.end - self.base, alignment);
        let end = start.saturating_add(length);
        let room_bytes = self.payload.len();
        let overflow = BuildError::Overflow { what: self.what, needed_bytes: end, room_bytes };
        self.payload.get_mut(self.end..end).ok_or(overflow)?[..start - self.end].fill(0);
        self.end = end;
        Ok(&mut self.payload[start..end])
    }

    /// A record at the end; returns where it begins.
    fn write<R: Record>(&mut self, record: &R) -> Result<usize, BuildError> {
        let outer = (self.base, self.depth, self.what);
        let problem = "records are more than 32 deep, and large ones count more than once";
        let too_deep = BuildError::unfit(R::NAME, problem);
        self.depth = deeper::<R>(self.depth).ok_or(too_deep)?;
        let fixed = self.reserve(ALIGNMENT, R::FIXED_LEN)?;
        fixed.fill(0);
        R::CHECK.put(&mut fixed[..4]);
        let start = self.end - R::FIXED_LEN;
        (self.base, self.what) = (start, R::NAME);
        record.write(self)?;
        (self.base, self.depth, self.what) = outer;
        Ok(start)
    }

    /// A field of this record that has been reserved.
    fn field(&mut self, at: usize, length: usize) -> &mut [u8] {
        let start = self.base + at;
        &mut self.payload[start..start + length]
    }

    fn refer(&mut self, at: usize, start: usize, length: usize) {
        let wire = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let offset = wire(start - self.base);
        let place = self.field(at, PLACE_LEN);
        offset.put(&mut place[..4]);
        wire(length).put(&mut place[4..]);
    }

    /// A number or a `bool`.
    #[inline]
    pub fn scalar<T: Scalar>(&mut self, at: usize, value: T) {
        value.put(self.field(at, T::LEN));
    }

    /// An array of these.
    pub fn array<T: Scalar, const N: usize>(&mut self, at: usize, values: &[T; N]) {
        let field = self.field(at, T::LEN * N);
        for (target, value) in field.chunks_exact_mut(T::LEN).zip(values) {
            value.put(target);
        }
    }

    /// A list of these.
    ///
    /// # Errors
    /// [`BuildError::Overflow`].
    pub fn scalars<T: Scalar>(&mut self, at: usize, values: &[T]) -> Result<(), BuildError> {
        let length = values.len().saturating_mul(T::LEN);
        let part = self.reserve(T::LEN, length)?;
        for (target, value) in part.chunks_exact_mut(T::LEN).zip(values) {
            value.put(target);
        }
        self.refer(at, self.end - length, values.len());
        Ok(())
    }

    /// A list of bytes.
    ///
    /// # Errors
    /// [`BuildError::Overflow`].
    pub fn bytes(&mut self, at: usize, bytes: &[u8]) -> Result<(), BuildError> {
        self.reserve(1, bytes.len())?.copy_from_slice(bytes);
        self.refer(at, self.end - bytes.len(), bytes.len());
        Ok(())
    }

    /// A text.
    ///
    /// # Errors
    /// [`BuildError::Overflow`].
    pub fn text(&mut self, at: usize, text: &str) -> Result<(), BuildError> {
        let part = self.reserve(1, text.len() + 1)?;
        part[..text.len()].copy_from_slice(text.as_bytes());
        part[text.len()] = 0;
        self.refer(at, self.end - text.len() - 1, text.len());
        Ok(())
    }

    /// A record in this one.
    ///
    /// # Errors
    /// [`BuildError::Overflow`], [`BuildError::Unfit`].
    pub fn record<R: Record>(&mut self, at: usize, record: &R) -> Result<(), BuildError> {
        let start = self.write(record)?;
        self.refer(at, start, self.end - start);
        Ok(())
    }

    /// A directory of a list, of which each element is written by `write` to its place.
    fn list<T>(
        &mut self,
        at: usize,
        values: &[T],
        mut write: impl FnMut(&mut Self, usize, &T) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let length = values.len().saturating_mul(PLACE_LEN);
        self.reserve(ALIGNMENT, length)?;
        let start = self.end - length;
        self.refer(at, start, values.len());
        for (index, value) in values.iter().enumerate() {
            write(self, start - self.base + index * PLACE_LEN, value)?;
        }
        Ok(())
    }

    /// A list of texts.
    ///
    /// # Errors
    /// [`BuildError::Overflow`].
    pub fn texts<T: AsRef<str>>(&mut self, at: usize, texts: &[T]) -> Result<(), BuildError> {
        self.list(at, texts, |writer, place, text| writer.text(place, text.as_ref()))
    }

    /// A list of records.
    ///
    /// # Errors
    /// [`BuildError::Overflow`], [`BuildError::Unfit`].
    pub fn records<R: Record>(&mut self, at: usize, records: &[R]) -> Result<(), BuildError> {
        self.list(at, records, Self::record)
    }
}

/// Reads a record, and holds every byte of it against the layout.
#[derive(Debug)]
pub struct Reader<'v> {
    bytes: &'v [u8],
    /// Where the last part ended.
    end: usize,
    /// How deep it is, itself included.
    depth: usize,
}

impl<'v> Reader<'v> {
    /// Bytes between fields, which are 0.
    ///
    /// # Errors
    /// [`Fault::BadLayout`] when they are not.
    pub fn zeros(&self, at: usize, length: usize, what: &'static str) -> Result<(), Malformed> {
        let zeros = self.bytes.get(at..at + length);
        match zeros.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)) {
            true => Ok(()),
            false => Err(Malformed { fault: Fault::BadLayout, what }),
        }
    }

    /// A number or a `bool`.
    ///
    /// # Errors
    /// [`Fault::BadLayout`] for a `bool` that is neither 0 nor 1.
    #[inline]
    pub fn scalar<T: Scalar>(&self, at: usize, what: &'static str) -> Result<T, Malformed> {
        let value = self.bytes.get(at..at + T::LEN).and_then(T::get);
        value.ok_or(Malformed { fault: Fault::BadLayout, what })
    }

    /// An array of these.
    ///
    /// # Errors
    /// [`Fault::BadLayout`] for a `bool` that is neither 0 nor 1.
    pub fn array<T: Scalar, const N: usize>(
        &self,
        at: usize,
        what: &'static str,
    ) -> Result<[T; N], Malformed> {
        let mut values = [T::default(); N];
        for (index, value) in values.iter_mut().enumerate() {
            *value = self.scalar(at + index * T::LEN, what)?;
        }
        Ok(values)
    }

    /// Where a part is, as its field says, and its length; it must be the next.
    fn place(
        &mut self,
        at: usize,
        alignment: usize,
        element_len: usize,
        what: &'static str,
    ) -> Result<(usize, usize), Malformed> {
        let refuse = |fault| Malformed { fault, what };
        let offset = self.scalar::<u32>(at, what)? as usize;
        let length = self.scalar::<u32>(at + 4, what)? as usize;
        let start = aligned(self.end, alignment);
        let end = length.checked_mul(element_len).and_then(|bytes| start.checked_add(bytes));
        let end = end.filter(|end| *end <= self.bytes.len()).ok_or(refuse(Fault::OutOfBounds))?;
        if offset != start {
            return Err(refuse(Fault::BadLayout));
        }
        self.zeros(self.end, start - self.end, what)?;
        self.end = end;
        Ok((start, length))
    }

    /// A list of numbers or `bool`s.
    ///
    /// # Errors
    /// [`Fault::OutOfBounds`], [`Fault::BadLayout`].
    pub fn scalars<T: Scalar>(
        &mut self,
        at: usize,
        what: &'static str,
    ) -> Result<Scalars<'v, T>, Malformed> {
        let (start, _) = self.place(at, T::LEN, T::LEN, what)?;
        let bytes = &self.bytes[start..self.end];
        if bytes.chunks_exact(T::LEN).any(|value| T::get(value).is_none()) {
            return Err(Malformed { fault: Fault::BadLayout, what });
        }
        Ok(Scalars { bytes, scalar: PhantomData })
    }

    /// A list of bytes.
    ///
    /// # Errors
    /// [`Fault::OutOfBounds`], [`Fault::BadLayout`].
    pub fn bytes(&mut self, at: usize, what: &'static str) -> Result<&'v [u8], Malformed> {
        let (start, _) = self.place(at, 1, 1, what)?;
        Ok(&self.bytes[start..self.end])
    }

    /// A text.
    ///
    /// # Errors
    /// [`Fault::OutOfBounds`], [`Fault::BadLayout`], [`Fault::MissingNul`].
    pub fn text(&mut self, at: usize, what: &'static str) -> Result<&'v str, Malformed> {
        let text = self.bytes(at, what)?;
        match self.bytes.get(self.end) {
            None => return Err(Malformed { fault: Fault::OutOfBounds, what }),
            Some(0) => self.end += 1,
            Some(_) => return Err(Malformed { fault: Fault::MissingNul, what }),
        }
        str::from_utf8(text).map_err(|_| Malformed { fault: Fault::BadLayout, what })
    }

    /// A record in this one.
    ///
    /// # Errors
    /// Why it is malformed.
    pub fn record<R: Record>(
        &mut self,
        at: usize,
        what: &'static str,
    ) -> Result<R::View<'v>, Malformed> {
        let (start, _) = self.place(at, ALIGNMENT, 1, what)?;
        read::<R>(&self.bytes[start..self.end], self.depth)
    }

    /// A list of texts.
    ///
    /// # Errors
    /// Why the list or one of the texts is malformed.
    pub fn texts(&mut self, at: usize, what: &'static str) -> Result<Texts<'v>, Malformed> {
        let list = self.list(at, what)?;
        for index in 0..list.len {
            self.text(list.start + index * PLACE_LEN, what)?;
        }
        Ok(Texts(list))
    }

    /// A list of records.
    ///
    /// # Errors
    /// Why the list or one of the records is malformed.
    pub fn records<R: Record>(
        &mut self,
        at: usize,
        what: &'static str,
    ) -> Result<Records<'v, R>, Malformed> {
        let list = self.list(at, what)?;
        for index in 0..list.len {
            self.record::<R>(list.start + index * PLACE_LEN, what)?;
        }
        Ok(Records { list, depth: self.depth, record: PhantomData })
    }

    fn list(&mut self, at: usize, what: &'static str) -> Result<List<'v>, Malformed> {
        let (start, len) = self.place(at, ALIGNMENT, PLACE_LEN, what)?;
        Ok(List { bytes: self.bytes, start, len })
    }
}

/// Numbers or `bool`s in a payload.
#[derive(Clone, Copy)]
pub struct Scalars<'v, T> {
    bytes: &'v [u8],
    scalar: PhantomData<fn() -> T>,
}

impl<'v, T: Scalar> Scalars<'v, T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / T::LEN
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<T> {
        let start = index.checked_mul(T::LEN)?;
        self.bytes.get(start..start.checked_add(T::LEN)?).and_then(T::get)
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'v, T> {
        // All were checked.
        self.bytes.chunks_exact(T::LEN).filter_map(T::get)
    }
}

impl<T: Scalar> fmt::Debug for Scalars<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A checked directory in a record.
#[derive(Clone, Copy)]
struct List<'v> {
    /// The record.
    bytes: &'v [u8],
    start: usize,
    len: usize,
}

impl<'v> List<'v> {
    fn element(&self, index: usize) -> Option<&'v [u8]> {
        if index >= self.len {
            return None;
        }
        let word = |at: usize| self.bytes.get(at..at + 4).and_then(u32::get);
        let place = self.start + index * PLACE_LEN;
        let (offset, length) = (word(place)? as usize, word(place + 4)? as usize);
        self.bytes.get(offset..offset + length)
    }
}

/// Texts in a payload.
#[derive(Clone, Copy)]
pub struct Texts<'v>(List<'v>);

impl<'v> Texts<'v> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<&'v str> {
        self.0.element(index).and_then(|text| str::from_utf8(text).ok())
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &'v str> + use<'v> {
        let texts = *self;
        // All were checked.
        (0..texts.len()).filter_map(move |index| texts.get(index))
    }
}

impl fmt::Debug for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Records in a payload.
pub struct Records<'v, R> {
    list: List<'v>,
    /// How deep the record is that has the list.
    depth: usize,
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for Records<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Records<'_, R> {}

impl<'v, R: Record> Records<'v, R> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.len == 0
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<R::View<'v>> {
        read::<R>(self.list.element(index)?, self.depth).ok()
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = R::View<'v>> + use<'v, R> {
        let records = *self;
        // All were checked.
        (0..records.len()).filter_map(move |index| records.get(index))
    }
}

impl<R: Record> fmt::Debug for Records<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The record that a handler answers. `V` is the view of it, by which the type is known.
#[derive(Debug)]
pub struct RecordReply<'b, V> {
    payload: &'b mut [u8],
    written: Result<usize, BuildError>,
    view: PhantomData<fn() -> V>,
}

impl<'b, V> RecordReply<'b, V> {
    #[doc(hidden)]
    pub fn new(payload: &'b mut [u8]) -> RecordReply<'b, V> {
        let unset = BuildError::Unfit { what: "the answer", problem: "the handler has not set it" };
        RecordReply { payload, written: Err(unset), view: PhantomData }
    }

    /// Answers this. Without it the client is told INTERNAL_ERROR.
    ///
    /// # Errors
    /// [`BuildError::Overflow`] when it does not fit, [`BuildError::Unfit`] when it is too deep.
    pub fn set<R: Record<View<'static> = V>>(&mut self, record: &R) -> Result<(), BuildError> {
        self.written = encode(record, self.payload);
        self.written.map(|_| ())
    }

    #[doc(hidden)]
    pub fn finish(self) -> Result<Answer, BuildError> {
        self.written.map(Answer::Written)
    }
}

/// The record that a client asks with, and the room for an answer.
#[doc(hidden)]
pub fn open<'r, 'b, R: Record, V>(
    request: &'r [u8],
    payload: &'b mut [u8],
) -> Result<(R::View<'r>, RecordReply<'b, V>), OpenError> {
    Ok((decode::<R>(request)?, RecordReply::new(payload)))
}
