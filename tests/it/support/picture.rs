//! Pictures to compare: QEMU's own screendump, and what a canvas in the browser shows.

/// A picture of 8-bit red, green, blue, row by row from the top.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) rgb: Vec<u8>,
}

impl Picture {
    /// Reads binary PPM (`P6`), as QEMU writes it: three numbers in text, one blank, the pixels.
    pub(crate) fn from_ppm(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"P6")?;
        let mut number = || -> Option<usize> {
            rest = rest.trim_ascii_start();
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (text, after) = rest.split_at(digits);
            rest = after;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let (width, height, most) = (number()?, number()?, number()?);
        let rgb = rest.get(1..)?.to_vec();
        (most == 255 && rgb.len() == width * height * 3).then_some(Self { width, height, rgb })
    }

    /// Whether every pixel is the same colour: nothing is drawn.
    pub(crate) fn is_blank(&self) -> bool {
        self.rgb.chunks(3).all(|pixel| pixel == &self.rgb[..3])
    }

    /// The share of pixels, 0 to 1, in which any colour differs by more than `tolerance`; 1 for unequal sizes.
    pub(crate) fn difference(&self, other: &Self, tolerance: u8) -> f64 {
        if (self.width, self.height) != (other.width, other.height) {
            return 1.0;
        }
        let pairs = self.rgb.chunks(3).zip(other.rgb.chunks(3));
        let differing = pairs.filter(|(a, b)| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > tolerance));
        differing.count() as f64 / (self.width * self.height) as f64
    }

    /// The colour at a place.
    pub(crate) fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let start = (y * self.width + x) * 3;
        [self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]]
    }
}

/// Short in failure messages: the pixels themselves tell nobody anything.
impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{}, blank: {})", self.width, self.height, self.is_blank())
    }
}

#[test]
fn pictures_are_read_and_compared() {
    let read = |bytes: &[u8]| Picture::from_ppm(bytes);
    let two = read(b"P6\n2 1\n255\n\x00\x00\x00\xff\xff\xff").unwrap();
    assert_eq!((two.width, two.height, two.at(1, 0), two.is_blank()), (2, 1, [255; 3], false));
    let grey = read(b"P6 2 1 255\n\x02\x02\x02\x02\x02\x02").unwrap();
    assert!(grey.is_blank());
    assert_eq!(two.difference(&grey, 2), 0.5);
    assert_eq!(two.difference(&two, 0), 0.0);
    assert_eq!(two.difference(&read(b"P6 1 1 255\n\x00\x00\x00").unwrap(), 255), 1.0);
    assert_eq!(read(b"P6 2 1 255\n\x00"), None, "cut short");
    assert_eq!(read(b"P5 1 1 255\n\x00"), None, "another format");
}
