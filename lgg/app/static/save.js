() => setTimeout(() => document.querySelector("a#NAME, #NAME a, button#NAME")?.click(), 200)
