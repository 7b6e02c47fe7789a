"""Sentences in many languages, each with the encodings that its old documents are in."""

# ruff: noqa: RUF001 - letters of other scripts are what this is about

from __future__ import annotations

WESTERN = ("cp1252",)
CENTRAL = ("cp1250", "iso8859-2")

SENTENCES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "Swedish": (
        WESTERN,
        "Alla människor är födda fria och lika i värde och rättigheter. De har utrustats med förnuft och samvete.",
        "Färjan går på måndagen från den östra kajen, så kom i god tid.",
    ),
    "Danish": (
        WESTERN,
        "Alle mennesker er født frie og lige i værdighed og rettigheder. De er udstyret med fornuft og samvittighed.",
        "På mandag sejler færgen fra kajen ved åen klokken ti.",
    ),
    "Norwegian": (
        WESTERN,
        "Alle mennesker er født frie og med samme menneskeverd. De er utstyrt med fornuft og samvittighet.",
        "På mandag går ferja fra brygga, så møt opp i god tid på øya.",
    ),
    "Icelandic": (
        WESTERN,
        "Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum.",
        "Menn eru gæddir vitsmunum og samvisku, og ber þeim að breyta bróðurlega hverjum við annan.",
    ),
    "Finnish": (
        WESTERN,
        "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
        "Lautta lähtee maanantaina itäisestä satamasta, älkää myöhästykö.",
    ),
    "German": (
        WESTERN,
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Größe zählt nicht.",
        "Die Fähre fährt am Montag früh vom östlichen Anleger ab; bitte pünktlich kommen.",
    ),
    "Dutch": (
        WESTERN,
        "Alle mensen worden vrij en gelijk in waardigheid geboren, zei één van de coördinatoren.",
        "De veerboot naar België vertrekt maandag; één ruïne en twee cafés liggen op de route.",
    ),
    "French": (
        WESTERN,
        "Une crème brûlée à la carte, près de la forêt : tous naissent libres et égaux en dignité.",
        "Le bateau part lundi du quai est, où l’on vous attendra ; ça coûte 5 €, à régler au guichet.",
    ),
    "Portuguese": (
        WESTERN,
        "São João da Madeira: todos os seres humanos nascem livres e iguais em dignidade, não é?",
        "A balsa não sai às terças; a próxima excursão à ilha será na segunda-feira de manhã.",
    ),
    "Spanish": (
        WESTERN,
        "Todos los niños nacen libres e iguales en dignidad; mañana será otro día en Logroño.",
        "¿Qué día sale el barco? El próximo lunes, según el capitán, desde el muelle pequeño.",
    ),
    "Italian": (
        WESTERN,
        "Tutti gli esseri umani nascono liberi ed eguali in dignità, perché così è più giusto.",
        "Il traghetto partirà lunedì dal molo; la città è lì, però bisogna arrivare in anticipo.",
    ),
    "English": (
        WESTERN,
        "A naïve façade of a café in São Paulo – that’s what the résumé of the project shows.",
        "The temperature was 20 °C, and the ticket costs £5 at the door. Nothing else is known of it.",
    ),
    "Polish": (
        CENTRAL,
        "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
        "Prom odpływa w poniedziałek ze wschodniego nabrzeża, więc proszę przyjść wcześniej, żeby zdążyć.",
    ),
    "Czech": (
        CENTRAL,
        "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv.",
        "Přívoz odplouvá v pondělí od východního nábřeží, přijďte prosím včas, ať ho nezmeškáte.",
    ),
    "Hungarian": (
        CENTRAL,
        "Minden emberi lény szabadon születik és egyenlő méltósága és joga van.",
        "A komp hétfőn indul a keleti rakpartról, kérjük, időben érkezzenek, mert nem vár senkire.",
    ),
    "Romanian": (
        ("cp1250",),
        "Toate fiinţele umane se nasc libere şi egale în demnitate şi în drepturi.",
        "Bacul pleacă luni dimineaţă de la cheiul de est, vă rugăm să veniţi din timp.",
    ),
    "Croatian": (
        ("cp1250",),
        "Sva ljudska bića rađaju se slobodna i jednaka u dostojanstvu i pravima.",
        "Trajekt kreće u ponedjeljak s istočnog pristaništa, molimo dođite na vrijeme, jer neće čekati.",
    ),
    "Turkish": (
        ("cp1254",),
        "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
        "Vapur pazartesi günü doğu iskelesinden kalkıyor, lütfen vaktinde geliniz, çünkü beklemeyecek.",
    ),
    "Lithuanian": (
        ("cp1257",),
        "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis.",
        "Keltas išplaukia pirmadienį iš rytinės krantinės, prašome ateiti laiku, nes jis nelauks.",
    ),
    "Latvian": (
        ("cp1257",),
        "Visi cilvēki piedzimst brīvi un vienlīdzīgi savā pašcieņā un tiesībās.",
        "Prāmis atiet pirmdien no austrumu piestātnes, lūdzu, ierodieties laikus, jo tas negaidīs.",
    ),
    "Russian": (
        ("cp1251", "koi8-r", "cp866"),
        "Все люди рождаются свободными и равными в своем достоинстве и правах.",
        "Паром отходит в понедельник от восточного причала, просим приходить заранее.",
    ),
    "Ukrainian": (
        ("cp1251", "koi8-u"),
        "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
        "Пором відходить у понеділок від східного причалу, просимо приходити заздалегідь.",
    ),
    "Bulgarian": (
        ("cp1251",),
        "Всички хора се раждат свободни и равни по достойнство и права.",
        "Фериботът тръгва в понеделник от източния кей, моля, елате навреме.",
    ),
    "Greek": (
        ("cp1253", "iso8859-7"),
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
        "Το πλοίο φεύγει τη Δευτέρα από την ανατολική αποβάθρα, παρακαλούμε να έρθετε νωρίς.",
    ),
    "Hebrew": (
        ("cp1255",),
        "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
        "המעבורת יוצאת ביום שני מהרציף המזרחי, נא להגיע בזמן.",
    ),
    "Arabic": (
        ("cp1256",),
        "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
        "تغادر العبارة يوم الاثنين من الرصيف الشرقي، نرجو الحضور في الموعد.",
    ),
    "Thai": (
        ("cp874",),
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
        "เรือข้ามฟากออกวันจันทร์จากท่าเรือตะวันออก กรุณามาให้ตรงเวลา",
    ),
    "Japanese": (
        ("cp932", "euc-jp"),
        "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
        "フェリーは月曜日に東の桟橋から出ますので、早めにお越しください。",
    ),
    "Chinese, simplified": (
        ("gb18030",),
        "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心。",
        "渡轮星期一从东码头出发,请提前到达,过时不候。",
    ),
    "Chinese, traditional": (
        ("big5",),
        "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心。",
        "渡輪星期一從東碼頭出發,請提前到達,過時不候。",
    ),
    "Korean": (
        ("cp949",),
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
        "배는 월요일에 동쪽 부두에서 떠나니 미리 오시기 바랍니다.",
    ),
}
