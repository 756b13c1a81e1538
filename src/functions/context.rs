//! The context that a token may be bound to: the last argument of a call.

use crate::cipher::Context;
use crate::error::Error;
use crate::sqlite::value::{Arguments, Value};

/// The argument at `index`, if the call has so many. A NULL is refused: a look-up that found nothing must not unbind.
///
/// # Errors
/// [`Error::BadArgument`] for what is no context.
#[inline(always)]
pub(super) fn context<'a>(
    arguments: &Arguments<'a>,
    index: usize,
) -> Result<Option<Context<'a>>, Error> {
    if index >= arguments.len() {
        return Ok(None);
    }
    let value = arguments.get(index)?;
    let context = match value {
        Value::Text(bytes) | Value::Blob(bytes) => Context::new(bytes),
        _ => None,
    };
    match context {
        Some(context) => Ok(Some(context)),
        None => Err(Error::BadArgument(format!(
            "context must be TEXT or BLOB of 1 to {} bytes, this is {value}",
            Context::LONGEST
        ))),
    }
}
