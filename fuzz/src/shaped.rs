//! Values whose shape the type asks for, and whose content the bytes choose: each type that can be read becomes one that can be
//! fuzzed, with the names of its fields and variants.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::forged::field_names;

/// Each kind of text that has a form. The first is valid for most.
const WORDS: [&str; 64] = [
    "bob",
    "alice",
    "olivia",
    "dba",
    "acme",
    "admin",
    "owner",
    "connection:prod-1",
    "target:orders-db",
    "feature:billing",
    "scope:orders",
    "role:admin",
    "member:bob",
    "group:dba",
    "target:*",
    "production",
    "non-production",
    "2026-11-24T09:00:00Z",
    "2026-11-24T10:00:00Z",
    "2027-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "4h",
    "90m",
    "365d",
    "permanent",
    "OPS-12",
    "A reason\nof two lines",
    "bob@acme.example",
    "U0BOB123",
    "C0OPS123",
    "slack:C0OPS123",
    "email:ops@acme.example",
    "webhook:hook",
    "email",
    "slack",
    "inbox",
    "Europe/Paris",
    "daily 09:00",
    "now",
    "09:00",
    "submitted",
    "granted",
    "expired",
    "active",
    "pending",
    "1",
    "1-2",
    "acme/12",
    "c9f0f895fb98ab9159f51fd0297e236d24a3ec80d9d21adc4d1b2ac3cb0f4a9e",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL8YzYNhlkad8aR8EPNazOmHfic6JXulkND1Khx/MvQ7",
    "acme/access+0c4fa1ba+AW69LmpeI6SVZ7sUcBJcF1VjDgDrKZQhQfkIBBCO5dVY",
    "team",
    "member:carol",
    "add",
    "change",
    "remove",
    "rw",
    "",
    "*",
    "\u{1b}[31mé\u{202e}",
    "-",
];
const NUMBERS: [i64; 16] = [
    0,
    -1,
    i64::MAX,
    i64::MIN,
    u32::MAX as i64,
    i32::MAX as i64,
    i32::MIN as i64,
    255,
    256,
    3600,
    86_400,
    31_536_000,
    1_795_510_800,
    253_402_300_799,
    253_402_300_800,
    4096,
];

/// Bytes that are read as choices. Without any left, each choice is the simplest.
pub struct Shaped<'b> {
    bytes: &'b [u8],
    depth: usize,
}

impl<'b> Shaped<'b> {
    pub fn new(bytes: &'b [u8]) -> Shaped<'b> {
        Shaped { bytes, depth: 0 }
    }

    fn next(&mut self) -> usize {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        usize::from(*first)
    }

    fn number(&mut self) -> i64 {
        match self.next() {
            small @ 0..=239 => small as i64 + 1,
            other => NUMBERS[other - 240],
        }
    }

    fn text(&mut self) -> String {
        match self.next() {
            word @ 0..=223 => WORDS[word % WORDS.len()].to_owned(),
            length => {
                let (text, rest) = self.bytes.split_at((length - 223).min(self.bytes.len()));
                self.bytes = rest;
                String::from_utf8_lossy(text).into_owned()
            }
        }
    }

    /// How many there are. What contains itself ends.
    fn length(&mut self) -> usize {
        if self.depth > 24 { 0 } else { self.next() % 5 }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number() as $type)
        })+
    };
}

impl<'de> Deserializer<'de> for &mut Shaped<'_> {
    type Error = Error;

    numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_i128 visit_i128 i128, deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128, deserialize_f32 visit_f32 f32, deserialize_f64 visit_f64 f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.next() % 6 {
            0 => self.deserialize_str(visitor),
            1 => self.deserialize_i64(visitor),
            2 => self.deserialize_bool(visitor),
            3 => self.deserialize_seq(visitor),
            4 => self.deserialize_map(visitor),
            _ => visitor.visit_unit(),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.next() % 2 == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_char(char::from(self.next() as u8))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_byte_buf(self.text().into_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.next() % 2 == 1 { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let length = self.length();
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.depth += 1;
        let read = visitor.visit_seq(Parts { shaped: self, keys: &[], left: length });
        self.depth -= 1;
        read
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(length, visitor)
    }

    /// Also a struct with the fields of another: its names are not known here.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let names = field_names();
        let length = self.length() * 3;
        let mut keys = Vec::new();
        for _ in 0..length {
            let at = self.next() + self.next() * 256;
            keys.push(if at < 1 << 15 { names[at % names.len()] } else { WORDS[at % WORDS.len()] });
        }
        self.depth += 1;
        let read = visitor.visit_map(Parts { shaped: self, keys: &keys, left: length });
        self.depth -= 1;
        read
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.depth += 1;
        let read = visitor.visit_map(Parts { shaped: self, keys: fields, left: fields.len() });
        self.depth -= 1;
        read
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if variants.is_empty() {
            return Err(serde::de::Error::custom("it has no value"));
        }
        let variant = variants[self.next() % variants.len()];
        visitor.visit_enum(Chosen { shaped: self, variant })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

struct Parts<'s, 'b, 'k> {
    shaped: &'s mut Shaped<'b>,
    keys: &'k [&'k str],
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_, '_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.shaped).map(Some)
    }
}

impl<'de> MapAccess<'de> for Parts<'_, '_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((first, rest)) = self.keys.split_first() else { return Ok(None) };
        self.keys = rest;
        let key: StrDeserializer<'_, Error> = (*first).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(&mut *self.shaped)
    }
}

struct Chosen<'s, 'b> {
    shaped: &'s mut Shaped<'b>,
    variant: &'static str,
}

impl<'de> EnumAccess<'de> for Chosen<'_, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let variant: StrDeserializer<'_, Error> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.shaped)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.shaped.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.shaped.deserialize_struct("", fields, visitor)
    }
}
