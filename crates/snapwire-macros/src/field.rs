//! A field's type as a layout knows it.

use quote::ToTokens;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{GenericArgument, LitInt, PathArguments, Type, TypePath};

/// What stands in a record by itself, by name and size in bytes, which is its alignment too.
const SCALARS: [(&str, usize); 11] = [
    ("u8", 1),
    ("u16", 2),
    ("u32", 4),
    ("u64", 8),
    ("i8", 1),
    ("i16", 2),
    ("i32", 4),
    ("i64", 8),
    ("f32", 4),
    ("f64", 8),
    ("bool", 1),
];

/// A number or a `bool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) name: &'static str,
    pub(crate) len: usize,
}

/// What a field is.
#[derive(Clone)]
pub(crate) enum Shape {
    /// A number or a `bool`.
    Scalar(Scalar),
    /// So many of them.
    Array(Scalar, usize),
    /// A text.
    Text,
    /// Another structure.
    Record(Box<Type>),
    /// A list of numbers.
    Scalars(Scalar),
    /// A list of texts.
    Texts,
    /// A list of structures.
    Records(Box<Type>),
}

/// The largest array, in bytes: it is read by value, on the stack of whoever reads.
const ARRAY_MAX: usize = 32 << 10;

impl Shape {
    /// What a type is.
    pub(crate) fn of(ty: &Type) -> syn::Result<Shape> {
        match ungrouped(ty) {
            Type::Array(array) => {
                let Shape::Scalar(scalar) = Shape::of(&array.elem)? else {
                    let message = "an array holds numbers or `bool`; use `Vec` for others";
                    return Err(syn::Error::new(array.elem.span(), message));
                };
                let max = ARRAY_MAX / scalar.len;
                // Not by its kind of expression: a macro's `$n` has a group around it.
                let length = syn::parse2::<LitInt>(array.len.to_token_stream())
                    .and_then(|length| length.base10_parse());
                let length =
                    length.ok().filter(|length| (1..=max).contains(length)).ok_or_else(|| {
                        let message = format!(
                            "the length of an array is a plain number from 1 to {max}, so that the \
                         layout can be printed"
                        );
                        syn::Error::new(array.len.span(), message)
                    })?;
                Ok(Shape::Array(scalar, length))
            }
            Type::Reference(reference) if reference.mutability.is_none() => {
                match ungrouped(&reference.elem) {
                    Type::Slice(slice) => Shape::list_of(&slice.elem),
                    Type::Path(path) if is_named(path, "str") => Ok(Shape::Text),
                    _ => Err(unknown(ty)),
                }
            }
            Type::Path(path) if path.qself.is_none() => Shape::of_path(path, ty),
            _ => Err(unknown(ty)),
        }
    }

    fn of_path(path: &TypePath, ty: &Type) -> syn::Result<Shape> {
        let Some(last) = path.path.segments.last() else {
            return Err(unknown(ty));
        };
        let name = last.ident.to_string();
        if let Some((name, len)) = SCALARS.iter().find(|(scalar, _)| *scalar == name) {
            return Ok(Shape::Scalar(Scalar { name, len: *len }));
        }
        let refuse = |message: &str| Err(syn::Error::new(ty.span(), message));
        match name.as_str() {
            "String" => Ok(Shape::Text),
            "Vec" => match &last.arguments {
                PathArguments::AngleBracketed(list) => match list.args.first() {
                    Some(GenericArgument::Type(element)) => Shape::list_of(element),
                    _ => Err(unknown(ty)),
                },
                _ => Err(unknown(ty)),
            },
            "usize" | "isize" => {
                refuse("this is not the same on every machine; say `u64`, or how long it is")
            }
            "u128" | "i128" => refuse("128 bits have no place in the layout; use `[u64; 2]`"),
            "char" => refuse("a `char` has no place in the layout; use `u32` or a text"),
            "Option" => {
                refuse("an `Option` has no layout; use a list of at most one, or a flag beside it")
            }
            "Self" => refuse("say the structure's name: in its view, `Self` is the view"),
            _ => Ok(Shape::Record(Box::new(ty.clone()))),
        }
    }

    fn list_of(element: &Type) -> syn::Result<Shape> {
        Ok(match Shape::of(element)? {
            Shape::Scalar(scalar) => Shape::Scalars(scalar),
            Shape::Text => Shape::Texts,
            Shape::Record(record) => Shape::Records(record),
            Shape::Array(..) | Shape::Scalars(_) | Shape::Texts | Shape::Records(_) => {
                let message = "a list of lists has no layout; put the inner one into a structure";
                return Err(syn::Error::new(element.span(), message));
            }
        })
    }

    /// How long it is in the fixed part, and of what its place is a multiple, in bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            Shape::Scalar(scalar) => (scalar.len, scalar.len),
            Shape::Array(scalar, length) => (scalar.len * length, scalar.len),
            _ => (8, 4),
        }
    }

    /// Whether it has a part behind the fields.
    pub(crate) fn is_part(&self) -> bool {
        !matches!(self, Shape::Scalar(_) | Shape::Array(..))
    }

    /// What it is, in the table.
    pub(crate) fn describe(&self) -> String {
        match self {
            Shape::Scalar(scalar) => format!("`{}`", scalar.name),
            Shape::Array(scalar, length) => format!("`[{}; {length}]`", scalar.name),
            Shape::Text => "text".into(),
            Shape::Record(record) => format!("record `{}`", type_name(record)),
            Shape::Scalars(scalar) => format!("list of `{}`", scalar.name),
            Shape::Texts => "list of texts".into(),
            Shape::Records(record) => format!("list of records `{}`", type_name(record)),
        }
    }
}

fn type_name(ty: &Type) -> String {
    match ungrouped(ty) {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.unraw().to_string()),
        _ => None,
    }
    .unwrap_or_default()
}

fn unknown(ty: &Type) -> syn::Error {
    let message = "this type has no layout: use numbers of a fixed size, `bool`, arrays of these, \
                   `&str`, `String`, `&[T]`, `Vec<T>` and structures that derive `Record`";
    syn::Error::new(ty.span(), message)
}

fn is_named(path: &TypePath, name: &str) -> bool {
    path.path.segments.last().is_some_and(|last| last.ident == name)
}

/// The type without what a `macro_rules!` fragment leaves around it.
pub(crate) fn ungrouped(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            other => return other,
        };
    }
}

/// The type with this lifetime in place of its own.
pub(crate) fn with_lifetime(ty: &Type, lifetime: &syn::Lifetime) -> Type {
    let mut ty = ungrouped(ty).clone();
    if let Type::Path(path) = &mut ty
        && let Some(last) = path.path.segments.last_mut()
        && let PathArguments::AngleBracketed(list) = &mut last.arguments
    {
        for argument in &mut list.args {
            if let GenericArgument::Lifetime(own) = argument {
                *own = lifetime.clone();
            }
        }
    }
    ty
}
