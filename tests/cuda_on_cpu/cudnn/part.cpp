// A part of the library beside libcudnn.so.9, of which only that it is there counts.
