//! What an author got wrong: all of it at once, each at its word.

/// Compile errors, in the order they were found.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Option<syn::Error>);

impl Mistakes {
    /// The value of a result; its error is added.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// `value`, unless there was a mistake.
    pub(crate) fn or<T>(self, value: T) -> syn::Result<T> {
        self.0.map_or(Ok(value), Err)
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }
}
