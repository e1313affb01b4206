//! JSON, and the forms that values take in it.
//!
//! nil, booleans, numbers, text, arrays and maps with text keys are themselves. What JSON has no
//! word for is an object with one key: `{"$bin":"<hex>"}`, `{"$int":"<decimal>"}` beyond ±2^53,
//! `{"$float64":"<hex>"}` for not-a-number and the infinities, and `{"$map":[[k,v],…]}` for a map
//! whose keys are not all text, that has a key twice, or whose only key begins with `$`. A float
//! always has a point or an exponent, so that 1 and 1.0 stay apart.

mod forms;
mod object;
mod tree;

pub(crate) use forms::{read_key, read_payload, read_value, write_key, write_value};
pub(crate) use object::Object;
pub(crate) use tree::{Json, write_text};
