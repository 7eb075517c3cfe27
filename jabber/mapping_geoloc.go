package jabber

import (
	"slices"
	"strconv"
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// Namespaces of location objects (RFC 4119, RFC 5139, RFC 5491).
const (
	nsGeopriv  = "urn:ietf:params:xml:ns:pidf:geopriv10"
	nsCivic    = nsGeopriv + ":civicAddr"
	nsCivicLoc = nsGeopriv + ":civicLoc" // of RFC 4119, before RFC 5139
	nsGML      = "http://www.opengis.net/gml"
	nsShapes   = "http://www.opengis.net/pidflo/1.0"

	wgs84  = "urn:ogc:def:crs:EPSG::4326" // RFC 5491 §5.1: latitude, longitude
	wgs84h = "urn:ogc:def:crs:EPSG::4979" // and altitude
	metres = "urn:ogc:def:uom:EPSG::9001"
)

// Place maps one element of XEP-0080 to one of a civic address (RFC 5139 §3).
type Place struct{ Geoloc, Civic string }

// places in the order of RFC 5139's schema.
var places = []Place{
	{"countrycode", "country"}, {"region", "A1"}, {"locality", "A3"}, {"area", "A5"}, {"street", "RD"},
	{"description", "LOC"}, {"floor", "FLR"}, {"postalcode", "PC"}, {"building", "BLD"}, {"room", "ROOM"},
}

// placeTypes of RFC 4589 §3.
var placeTypes = []string{"aircraft", "airport", "arena", "automobile", "bank", "bar", "bicycle", "bus", "bus-station", "cafe",
	"campground", "care-facility", "classroom", "club", "construction", "convention-center", "detached-unit",
	"fire-station", "government", "hospital", "hotel", "industrial", "landmark-address", "library", "motorcycle",
	"municipal-garage", "museum", "office", "other", "outdoors", "parking", "phone-box", "place-of-worship",
	"post-office", "prison", "public", "public-transport", "residence", "restaurant", "school", "shopping-area",
	"stadium", "store", "street", "theater", "toll-booth", "town-hall", "train", "train-station", "truck",
	"underway", "unknown", "utilitybox", "warehouse", "waste-transfer-facility", "water", "watercraft", "youth-camp"}

func readGeoloc(payload *markup.Element, p *presence.Person) {
	text := func(local string) string { return strings.TrimSpace(payload.Child(nodeGeoloc, local).Text()) }
	point := shape(text("lat"), text("lon"), text("alt"), text("accuracy"), text("datum"))
	civic := []byte(nil)
	for _, pl := range places {
		if v := text(pl.Geoloc); v != "" && (pl.Civic != "country" || len(v) == 2) {
			civic = append(append(append(civic, "<ca:"...), pl.Civic...), '>')
			civic = append(append(append(markup.AppendText(civic, v), "</ca:"...), pl.Civic...), '>')
		}
	}
	if v := text("description"); slices.Contains(placeTypes, v) {
		p.Rich.PlaceType = &presence.Values{Names: []string{v}}
	}
	if len(point)+len(civic) == 0 {
		return
	}
	b := append([]byte("<gp:geopriv xmlns:gp='"+nsGeopriv+"'><gp:location-info>"), point...)
	if len(civic) > 0 {
		b = append(append(append(b, "<ca:civicAddress xmlns:ca='"+nsCivic+"'>"...), civic...), "</ca:civicAddress>"...)
	}
	b = append(b, "</gp:location-info><gp:usage-rules/></gp:geopriv>"...)
	p.Extra = append(p.Extra, presence.Fragment{Space: nsGeopriv, Local: "geopriv", XML: string(b)})
}

// shape writes a point, or with an accuracy in metres a circle or sphere (RFC
// 5491 §5.2); nil for what is no position on WGS 84.
func shape(lat, lon, alt, accuracy, datum string) []byte {
	if !decimal(lat, 90) || !decimal(lon, 180) || datum != "" && datum != "WGS84" && datum != "WGS 84" {
		return nil
	}
	pos, crs := lat+" "+lon, wgs84
	element, rest := "gml:Point", ""
	if decimal(alt, 1e7) {
		pos, crs = pos+" "+alt, wgs84h
	}
	if decimal(accuracy, 1e8) && accuracy[0] != '-' {
		element = "gs:Circle"
		if crs == wgs84h {
			element = "gs:Sphere"
		}
		rest = "<gs:radius uom='" + metres + "'>" + accuracy + "</gs:radius>"
	}
	spaces := " xmlns:gml='" + nsGML + "'"
	if rest != "" {
		spaces += " xmlns:gs='" + nsShapes + "'"
	}
	return []byte("<" + element + spaces + " srsName='" + crs + "'><gml:pos>" + pos + "</gml:pos>" + rest + "</" + element + ">")
}

// decimal tells whether s is an xs:decimal of at most that magnitude.
func decimal(s string, most float64) bool {
	if s == "" || len(s) > 32 || strings.Trim(s, "+-.0123456789") != "" {
		return false
	}
	v, err := strconv.ParseFloat(s, 64)
	return err == nil && v >= -most && v <= most
}

func writeGeoloc(d *presence.Document) []byte {
	var lat, lon, alt, accuracy string
	var civic [16]string // by places
	if f := fragmentOf(d, nsGeopriv, "geopriv"); f != nil {
		if el, err := markup.Parse([]byte(f.XML), markup.Options{}); err == nil {
			for c := range el.Child(nsGeopriv, "location-info").Children() {
				switch c.Local {
				case "civicAddress":
					readCivic(c, civic[:])
				case "Point", "Circle", "Sphere":
					lat, lon, alt, accuracy = position(c)
				}
			}
		}
	}
	if civic[descriptionPlace] == "" {
		richOf(d, func(r *presence.Rich) bool {
			if r.PlaceType == nil {
				return false
			}
			civic[descriptionPlace] = strings.Join(append(slices.Clone(r.PlaceType.Names), r.PlaceType.Other...), ", ")
			return civic[descriptionPlace] != ""
		})
	}
	b := []byte("<geoloc xmlns='" + nodeGeoloc + "'>")
	empty := len(b)
	add := func(local, v string) {
		if v != "" {
			b = append(append(append(b, '<'), local...), '>')
			b = append(append(append(markup.AppendText(b, v), "</"...), local...), '>')
		}
	}
	add("accuracy", accuracy)
	add("alt", alt)
	for i, pl := range places {
		add(pl.Geoloc, civic[i])
	}
	add("lat", lat)
	add("lon", lon)
	if len(b) == empty {
		return nil
	}
	return append(b, "</geoloc>"...)
}

var descriptionPlace = slices.IndexFunc(places, func(p Place) bool { return p.Geoloc == "description" })

func readCivic(c *markup.Element, to []string) {
	if c.Space != nsCivic && c.Space != nsCivicLoc {
		return
	}
	text := func(local string) string { return strings.TrimSpace(c.Child(c.Space, local).Text()) }
	for i, pl := range places {
		v := text(pl.Civic)
		if pl.Civic == "RD" {
			if v == "" {
				v = text("A6") // RFC 4119 §2.2.1
			}
			if n := text("HNO"); v != "" && n != "" {
				v += " " + n
			}
		}
		to[i] = v
	}
}

// position reads a point, circle or sphere on WGS 84.
func position(c *markup.Element) (lat, lon, alt, accuracy string) {
	if crs := c.Attr("srsName"); c.Space != nsGML && c.Space != nsShapes || crs != wgs84 && crs != wgs84h {
		return "", "", "", ""
	}
	f := strings.Fields(c.Child(nsGML, "pos").Text())
	if len(f) < 2 || !decimal(f[0], 90) || !decimal(f[1], 180) {
		return "", "", "", ""
	}
	if len(f) > 2 && decimal(f[2], 1e7) {
		alt = f[2]
	}
	if r := c.Child(nsShapes, "radius"); r.Attr("uom") == metres && decimal(strings.TrimSpace(r.Text()), 1e8) {
		accuracy = strings.TrimSpace(r.Text())
	}
	return f[0], f[1], alt, accuracy
}
